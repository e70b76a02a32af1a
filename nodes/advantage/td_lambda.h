// TD(lambda) returns (Sutton 1988; Sutton and Barto 2018, section 12.1).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/episodes.h"

namespace rewardloom {

struct TdLambdaOptions {
  double gamma = 0.99;
  double lambda = 0.95;
};

/// G_t = r_t + gamma ((1 - lambda) V(next) + lambda G_{t+1}); at a row's or an episode's end
/// V(next) alone, and nothing after a terminated step. next_values [N,T] -> [N,T] like the rewards;
/// steps outside the mask are stepped over and 0. Failure `bad-shape`.
at::Tensor td_lambda(const Episodes& episodes, const at::Tensor& next_values,
                     const TdLambdaOptions& options, const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
at::Tensor td_lambda_by_scan(const Episodes& episodes, const at::Tensor& next_values,
                             const TdLambdaOptions& options);

}  // namespace rewardloom
