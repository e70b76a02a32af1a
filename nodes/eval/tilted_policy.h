// The policy that maximises reward under a KL penalty, on a table where it can be written down.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct TiltedPolicy {
  at::Tensor policy;  ///< [X,Y], rows sum to 1
  at::Tensor kl;      ///< [X] KL(policy || prior)
  at::Tensor log_z;   ///< [X] log sum prior exp(utility / gamma)
};

/// Maximiser of E[u] - gamma KL(pi || prior): pi proportional to prior exp(u / gamma)
/// (arXiv:2402.00742, section 2). prior, utility [X,Y] double; where the prior is 0 so is pi.
TiltedPolicy tilted_policy(const at::Tensor& prior, const at::Tensor& utility, double gamma);

}  // namespace rewardloom
