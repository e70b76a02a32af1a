// Judge reward of an answer whose reasoning should agree with it.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// format_weight * format + accuracy * (1 + consistency_weight * consistency); all [N].
/// R1-Reward, Zhang et al. 2025, arXiv:2505.02835.
at::Tensor consistency_reward(const at::Tensor& accuracy, const at::Tensor& format,
                              const at::Tensor& consistency, double format_weight,
                              double consistency_weight);

}  // namespace rewardloom
