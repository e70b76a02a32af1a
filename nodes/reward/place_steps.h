// Rewards of steps as rewards of tokens.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// step_rewards [N,S], end [N,S] int64 (column of the step's last token, -1: no step), mask [N,T]
/// bool
/// -> [N,T]: each step's reward at its last token. Failure `bad-shape`, `bad-step`.
at::Tensor placed_steps(const at::Tensor& step_rewards, const at::Tensor& end,
                        const at::Tensor& mask);

}  // namespace rewardloom
