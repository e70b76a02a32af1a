// Which tokens are too far from the policy that sampled them.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "engine/core/node.h"
#include "nodes/advantage/token_rows.h"
#include "nodes/correction/log_ratio.h"

namespace rewardloom {

enum class RejectionStatistic {
  token_k1,
  token_k2,
  token_k3,
  seq_sum_k1,
  seq_sum_k2,
  seq_sum_k3,
  seq_mean_k1,
  seq_mean_k2,
  seq_mean_k3,
  seq_max_k2,
  seq_max_k3
};
constexpr auto choices(RejectionStatistic) {
  using S = RejectionStatistic;
  return std::to_array<Choice<S>>({
      {S::token_k1, "token_k1", "-x of each token, x its log-ratio"},
      {S::token_k2, "token_k2", "x^2 / 2 of each token"},
      {S::token_k3, "token_k3", "exp(x) - 1 - x of each token"},
      {S::seq_sum_k1, "seq_sum_k1", "sum of k1 over the row"},
      {S::seq_sum_k2, "seq_sum_k2", "sum of k2 over the row"},
      {S::seq_sum_k3, "seq_sum_k3", "sum of k3 over the row"},
      {S::seq_mean_k1, "seq_mean_k1", "mean of k1 over the row"},
      {S::seq_mean_k2, "seq_mean_k2", "mean of k2 over the row"},
      {S::seq_mean_k3, "seq_mean_k3", "mean of k3 over the row"},
      {S::seq_max_k2, "seq_max_k2", "largest k2 of the row"},
      {S::seq_max_k3, "seq_max_k3", "largest k3 of the row"},
  });
}

struct RejectionOptions {
  RejectionStatistic statistic = RejectionStatistic::seq_mean_k1;
  std::optional<double> low = {};
  double high = 1.1;
};

/// Keeps tokens (or all tokens of rows) whose statistic lies in the band: log low <= k1 <= log
/// high, with low = 1 / high where it is not given; k2, k3 <= high. The log-ratio is held within
/// +-20.
/// -> [N,T] bool, within the mask. Failure `bad-shape`.
at::Tensor kept_tokens(const SampledLogProbs& inputs, const RejectionOptions& options,
                       const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
at::Tensor kept_tokens_by_operators(const SampledLogProbs& inputs, const RejectionOptions& options);

}  // namespace rewardloom
