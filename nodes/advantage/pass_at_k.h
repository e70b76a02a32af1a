// Advantages for pass@k (Tang et al. 2025, arXiv:2503.19595).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class PassScale { group_std, none };
constexpr auto choices(PassScale) {
  return std::to_array<Choice<PassScale>>({
      {PassScale::group_std, "group_std", "the sample spread of the group"},
      {PassScale::none, "none", "nothing"},
  });
}

struct PassAtKOptions {
  PassScale scale = PassScale::group_std;
  double epsilon = 1e-6;
};

/// The best row of a group gets best - second best, over the group's sample spread + epsilon if
/// scaled; all others 0, and all 0 where two share the best. rewards [N], group [N] int64, absent
/// [N] bool or undefined -> [N] like rewards. A group of one has no second and gets 0. Failure
/// `bad-shape`, `not-finite`.
at::Tensor pass_at_k_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                const at::Tensor& absent, const PassAtKOptions& options);

}  // namespace rewardloom
