// Maximum-likelihood reinforcement learning (Tajwar et al. 2026, arXiv:2602.02710).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"

namespace rewardloom {

struct MaxRlOptions {
  double epsilon = 1e-6;
  Singleton singleton = Singleton::zero;
};

struct MaxRlAdvantages {
  at::Tensor advantages;     ///< [N] like rewards
  std::size_t negative = 0;  ///< groups whose mean reward is below 0: there the sign turns over
};

/// A = (r - mean of its group) / (that mean + epsilon), for rewards that are not negative. rewards
/// [N], group [N] int64, absent [N] bool or undefined. A group of equal rewards, and one whose
/// divisor is 0, gets exactly 0. Failure `bad-shape`, `not-finite`.
MaxRlAdvantages maxrl_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const MaxRlOptions& options);

}  // namespace rewardloom
