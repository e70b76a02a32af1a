// What the ideal policy for a utility does at a given divergence from where it started.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace rewardloom {

struct MatchedPolicy {
  at::Tensor policy;  ///< [N] probabilities, each group sums to 1
  double gamma = 0;   ///< price of divergence that gives the wanted KL
  double kl = 0;      ///< mean over groups, nats
};

/// pi proportional to prior exp(utility / gamma) in each group, with gamma found by bisection so
/// that the mean KL(pi || prior) is `kl`. prior, utility [N] double; group [N] int64. Where even
/// gamma -> 0 (the best candidate alone) diverges less, that policy. Failure `param-range` for kl
/// <= 0.
MatchedPolicy policy_at_kl(const at::Tensor& prior, const at::Tensor& utility,
                           const at::Tensor& group, double kl);

}  // namespace rewardloom
