// Episode and step advantages of multi-turn trajectories: iStar (Liu et al. 2025,
// arXiv:2509.19199).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class EpisodeBaseline { leave_one_out, mean, mean_std };
constexpr auto choices(EpisodeBaseline) {
  return std::to_array<Choice<EpisodeBaseline>>({
      {EpisodeBaseline::leave_one_out, "leave_one_out", "n/(n-1) (r - mean), n baseline rows"},
      {EpisodeBaseline::mean, "mean", "r - mean"},
      {EpisodeBaseline::mean_std, "mean_std", "(r - mean) / (sample spread + epsilon)"},
  });
}

enum class StepBaseline { first_row, all_rows };
constexpr auto choices(StepBaseline) {
  return std::to_array<Choice<StepBaseline>>({
      {StepBaseline::first_row, "first_row", "over the first row of each trajectory (the code)"},
      {StepBaseline::all_rows, "all_rows", "over all rows of the group (the paper)"},
  });
}

enum class EpisodeCombine { separate, reward_sum };
constexpr auto choices(EpisodeCombine) {
  return std::to_array<Choice<EpisodeCombine>>({
      {EpisodeCombine::separate, "separate", "episode advantage + weight * step advantage"},
      {EpisodeCombine::reward_sum, "reward_sum", "advantage of episode + weight * step reward"},
  });
}

struct EpisodeStepOptions {
  double step_weight = 1.0;
  EpisodeBaseline baseline = EpisodeBaseline::leave_one_out;
  StepBaseline step_baseline = StepBaseline::first_row;
  double epsilon = 1e-6;
  EpisodeCombine combine = EpisodeCombine::separate;
};

struct EpisodeStepInputs {
  at::Tensor episode_rewards;  ///< [N], the same on all rows of a trajectory
  at::Tensor step_rewards;     ///< [N]
  at::Tensor group;            ///< [N] int64
  at::Tensor trajectory;       ///< [N] integers; told apart inside a group
  at::Tensor absent;           ///< [N] bool or undefined
};

struct EpisodeStepAdvantages {
  at::Tensor advantages;   ///< [N] like the episode rewards
  std::size_t lonely = 0;  ///< groups with one trajectory: all 0
};

/// Advantages of rows that are the turns of trajectories: the episode's among the trajectories of
/// its group (first rows), and the step's against the baseline rows. Absent rows are in nothing and
/// get 0; no spread gives 0. Failure `bad-shape`, `not-finite`.
EpisodeStepAdvantages episode_step_advantages(const EpisodeStepInputs& inputs,
                                              const EpisodeStepOptions& options);

}  // namespace rewardloom
