// Step rewards learnt from episode returns.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class DecompositionForm { full, sampled, sampled_unbiased };
constexpr auto choices(DecompositionForm) {
  return std::to_array<Choice<DecompositionForm>>({
      {DecompositionForm::full, "full", "all steps (RD, arXiv:1905.13420)"},
      {DecompositionForm::sampled, "sampled", "the given steps (RRD, arXiv:2111.13485)"},
      {DecompositionForm::sampled_unbiased, "sampled_unbiased",
       "the given steps, less the variance that drawing them adds"},
  });
}

/// step_rewards [N,T], returns [N], lengths [N] int64, steps [N,K] int64 (sampled forms) -> loss
/// []: mean over the step's rows of (mean step reward - return / length)^2, for sampled_unbiased
/// minus var(sampled) (1 - K / length) / K, at least 0. Rows of length 0 give 0. error [] (mean
/// absolute). Failure `bad-shape`, `bad-index` for a step outside its episode, `too-few-steps` for
/// sampled_unbiased with K < 2.
LossResult return_decomposition_loss(const LossBatch& batch, DecompositionForm form);

}  // namespace rewardloom
