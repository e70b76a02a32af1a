// Rewards that lie: how much noise a policy can learn from (arXiv:2505.22653).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "engine/core/node.h"
#include "engine/core/random.h"

namespace rewardloom {

enum class FlipUnit { prompt, sample, batch };
constexpr auto choices(FlipUnit) {
  return std::to_array<Choice<FlipUnit>>({
      {FlipUnit::prompt, "prompt", "all answers to a prompt together, as the paper's code does"},
      {FlipUnit::sample, "sample", "each answer by itself"},
      {FlipUnit::batch, "batch", "all rewards of an iteration together"},
  });
}

struct FlipOptions {
  double p = 0;
  FlipUnit unit = FlipUnit::prompt;
  std::optional<double> false_negatives = {};  ///< instead of p, for rewards above a half
  std::optional<double> false_positives = {};  ///< instead of p, for the others
};

struct Flipped {
  at::Tensor total;    ///< [N] rewards, those that were drawn as 1 - r
  at::Tensor flipped;  ///< [N] bool
};

/// Every unit is flipped with probability p. rewards [N] in [0,1], group [N] int64 or undefined
/// (with unit prompt it must be there); kept [N] bool: rows that are never flipped, or undefined.
/// Failure `reward-range` naming the first row outside [0,1].
Flipped flip_rewards(const at::Tensor& rewards, const at::Tensor& group, const at::Tensor& kept,
                     const FlipOptions& options, const Random& random);

}  // namespace rewardloom
