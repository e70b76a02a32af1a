// Which rows are too far off-policy to be pushed down (DeepSeek-V3.2, arXiv:2512.02556).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/token_rows.h"
#include "nodes/correction/log_ratio.h"

namespace rewardloom {

/// Keeps a row if its advantage is not negative or its mean of behavior - current log-probs over
/// the mask is at most `threshold`. advantages [N] or [N,1] -> [N] bool. Failure `bad-shape`.
at::Tensor kept_sequences(const at::Tensor& advantages, const SampledLogProbs& inputs,
                          double threshold, const ParallelCalls& parallel = {});

}  // namespace rewardloom
