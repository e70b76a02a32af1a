// ReMax (Li et al. 2023, arXiv:2310.10505).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/returns.h"

namespace rewardloom {

/// Undiscounted returns, and as advantages what they exceed the reward of a greedy completion of
/// the same prompt by. rewards, mask [N,T], baseline [N] -> both [N,T] like rewards, 0 outside the
/// mask. Failure `bad-shape`.
AdvantagesAndReturns remax(const at::Tensor& rewards, const at::Tensor& mask,
                           const at::Tensor& baseline, const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
AdvantagesAndReturns remax_by_scan(const at::Tensor& rewards, const at::Tensor& mask,
                                   const at::Tensor& baseline);

/// One baseline for each row: that of the row itself where there are as many, else that of the
/// row's group. baseline [B], its groups [B], groups of the rows [N] -> [N]. Failure `bad-shape`
/// where neither is possible, `no-baseline` naming a group without one, `twice` naming one with
/// two.
at::Tensor baseline_of_rows(const at::Tensor& baseline, const at::Tensor& baseline_group,
                            const at::Tensor& group, std::int64_t rows);

}  // namespace rewardloom
