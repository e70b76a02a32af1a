// From logits to tokens: inverse distribution functions over given uniform numbers.
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/text/token_statistics.h"

namespace rewardloom {

/// tokens [N] int64; log_probs [N] and entropy [N] of the distribution that was sampled, float32,
/// and its most likely tokens if they were asked for; on the CPU.
struct SampledTokens {
  at::Tensor tokens;
  at::Tensor log_probs;
  at::Tensor entropy;
  TopTokens top;
};

/// logits [N,V]; uniforms [N] double in [0, 1), on the CPU, one per row. The token of a row is the
/// first, in order of ids, at which the cumulated probability exceeds its uniform number, so that
/// it depends on that row alone. Temperature 0 takes the most likely token (the lowest id of
/// equals) and gives its log-prob at temperature 1. `top`: how many of the most likely tokens are
/// given beside. Failure `sampling-options` for options out of range, `non-finite-logits` naming
/// the row.
SampledTokens sample_tokens(const at::Tensor& logits, const at::Tensor& uniforms,
                            const SamplingOptions& options, std::int64_t top = 0);

}  // namespace rewardloom
