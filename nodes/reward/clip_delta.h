// Bounded process rewards. Gao et al. 2024, "On Designing Effective RL Reward at Training Time for
// LLM Reasoning", arXiv:2410.15115.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class ClipDeltaMode { raw, clip, delta, clip_delta, none };
constexpr auto choices(ClipDeltaMode) {
  return std::to_array<Choice<ClipDeltaMode>>({
      {ClipDeltaMode::raw, "raw", "the step rewards as they are"},
      {ClipDeltaMode::clip, "clip", "min(q - eta, 0): no step earns anything"},
      {ClipDeltaMode::delta, "delta",
       "q_k - q_(k+1); the last but one keeps q, the last gets 0: a return is bounded by one step"},
      {ClipDeltaMode::clip_delta, "clip_delta", "clip, then delta"},
      {ClipDeltaMode::none, "none", "0: what an answer earns by its success alone"},
  });
}

/// q [N,S], mask [N,S] (a prefix of each row) -> [N,S], times alpha, 0 outside the mask. With
/// `drop_last` delta gives the last step nothing; without, each step's q less that of the next,
/// the last one's q whole.
at::Tensor clip_delta(const at::Tensor& q, const at::Tensor& mask, ClipDeltaMode mode, double eta,
                      double alpha, bool drop_last = true);

/// Which entries of step rewards are steps, [N,S] bool: all where no boundaries are given.
at::Tensor step_mask(const StepRewards& steps);

}  // namespace rewardloom
