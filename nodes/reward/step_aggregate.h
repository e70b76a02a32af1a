// One reward from the scores of an answer's steps.
#pragma once
#include <array>
#include <optional>
#include <span>

#include "engine/core/node.h"

namespace rewardloom {

enum class StepFunc { min, max, prod, geometric_mean, mean, mean_logit, mean_odd, last };
constexpr auto choices(StepFunc) {
  return std::to_array<Choice<StepFunc>>({
      {StepFunc::min, "min", "the weakest step"},
      {StepFunc::max, "max", "the best step"},
      {StepFunc::prod, "prod", "product: the probability that all steps are right"},
      {StepFunc::geometric_mean, "geometric_mean",
       "its S-th root: does not fall with the number of steps"},
      {StepFunc::mean, "mean", "mean of the steps"},
      {StepFunc::mean_logit, "mean_logit", "sigmoid of the mean logit"},
      {StepFunc::mean_odd, "mean_odd", "mean of p / (1 - p)"},
      {StepFunc::last, "last", "the last step"},
  });
}

/// The aggregate of at least one score; nullopt where it is no number: a score below 0 in a root,
/// outside (0,1) in a logit, outside [0,1) in the odds. Kim et al. 2024, "Evaluating Robustness of
/// Reward Models for Mathematical Reasoning", arXiv:2410.01729.
std::optional<double> aggregated(std::span<const double> scores, StepFunc func);

}  // namespace rewardloom
