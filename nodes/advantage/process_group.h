// GRPO with process supervision (Shao et al. 2024, arXiv:2402.03300, section 4.1.3).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/token_rows.h"

namespace rewardloom {

struct ProcessGroupInputs {
  at::Tensor step_rewards;  ///< [N,S]
  at::Tensor step_end;      ///< [N,S] int64: index of the step's last token, rising
  at::Tensor step_mask;     ///< [N,S] bool; undefined: the steps whose end is not negative
  at::Tensor group;         ///< [N] int64
  at::Tensor mask;          ///< [N,T] bool
};

/// Step rewards minus the mean of all step rewards of the group, over their sample spread +
/// epsilon; a token's advantage is the sum over the steps that end at or after it. -> [N,T] like
/// the step rewards, 0 outside the mask; equal rewards give exactly 0. Failure `bad-shape`,
/// `not-finite`, `bad-step` for an end outside the tokens or not behind the one before.
at::Tensor process_group_advantages(const ProcessGroupInputs& inputs, double epsilon,
                                    const ParallelCalls& parallel = {});

}  // namespace rewardloom
