// The likelihood of the reference answer as reward.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class LikelihoodMode { logprob, avg_logprob, prob, avg_prob, geo_mean };
constexpr auto choices(LikelihoodMode) {
  return std::to_array<Choice<LikelihoodMode>>({
      {LikelihoodMode::logprob, "logprob", "sum of the log-probabilities (JEPO)"},
      {LikelihoodMode::avg_logprob, "avg_logprob", "their mean"},
      {LikelihoodMode::prob, "prob", "probability of the answer (VeriFree)"},
      {LikelihoodMode::avg_prob, "avg_prob", "mean probability of its tokens (RLPR)"},
      {LikelihoodMode::geo_mean, "geo_mean", "exp of the mean log-probability"},
  });
}

struct Likelihood {
  at::Tensor rewards;  ///< [N]
  at::Tensor weights;  ///< [N,T] d reward / d log_probs, 0 outside the mask
};

/// log_probs [N,T] of the reference answer given prompt and reasoning, mask [N,T] its tokens. Rows
/// without a token give 0. Computed in double.
/// Zhou et al. 2025, arXiv:2505.21493; Yu et al. 2025, arXiv:2506.18254.
Likelihood answer_likelihood(const at::Tensor& log_probs, const at::Tensor& mask,
                             LikelihoodMode mode);

}  // namespace rewardloom
