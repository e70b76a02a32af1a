// The score of a linear discriminator head as reward.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct DiscriminatorHead {
  at::Tensor weight;  ///< [D]
  double bias = 0;
};

/// global_weight * score(global) + (1 - global_weight) * mean over patches of score(patch), where
/// score(x) = x . weight + bias, x divided by (its norm + 1e-6) if normalise. global [N,D], patches
/// [N,P,D] -> [N]. Failure `bad-shape`. Adv-GRPO, arXiv:2511.20256.
at::Tensor discriminator_reward(const at::Tensor& global, const at::Tensor& patches,
                                const DiscriminatorHead& head, double global_weight,
                                bool normalise);

}  // namespace rewardloom
