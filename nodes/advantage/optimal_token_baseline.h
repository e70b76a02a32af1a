// A baseline per token that minimises the gradient's variance (Li et al. 2026, arXiv:2602.07078).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"
#include "nodes/advantage/returns.h"

namespace rewardloom {

struct TokenBaselineOptions {
  bool multi_turn = false;
  bool handle_zero_tail = false;
  double epsilon = 1e-8;
  Singleton singleton = Singleton::zero;
};

struct TokenBaselineInputs {
  at::Tensor rewards;         ///< [N,T]
  at::Tensor mask;            ///< [N,T] bool
  at::Tensor group;           ///< [N] int64
  at::Tensor log_probs;       ///< [N,T]
  at::Tensor sum_pi_squared;  ///< [N,T] sum of the squared probabilities of the next token
  at::Tensor weights;         ///< [N,T] importance weights, or undefined
};

/// Undiscounted returns G, and G_t - sum W_t G_t / (sum W_t + epsilon) over the rows of the group,
/// with W_t the sum up to t of (1 - 2 pi + sum pi^2) w^2. Rows meet by position, or with multi_turn
/// by the n-th token of the mask. Where all that meet have the same return the advantage is exactly
/// 0. With handle_zero_tail there is no baseline where only the longest row is left. Rows without
/// tokens are in no group. Both [N,T] like rewards, 0 outside the mask. Failure `bad-shape`.
AdvantagesAndReturns token_baseline_advantages(const TokenBaselineInputs& inputs,
                                               const TokenBaselineOptions& options,
                                               const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
AdvantagesAndReturns token_baseline_by_operators(const TokenBaselineInputs& inputs,
                                                 const TokenBaselineOptions& options);

}  // namespace rewardloom
