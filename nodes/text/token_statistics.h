// Log-probability and entropy of chosen tokens under a tempered, possibly truncated softmax.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rewardloom {

/// How logits become the distribution that is sampled: divided by the temperature, then cut to the
/// top_k most likely tokens (0: all), then to the fewest whose mass reaches top_p (1: all), then to
/// those with at least min_p times the likeliest one's probability (0: all; Nguyen et al. 2024,
/// arXiv:2407.01082), then renormalised. Temperature 0 is greedy.
struct SamplingOptions {
  double temperature = 1.0;
  std::int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  bool truncates() const { return top_k > 0 || top_p < 1.0 || min_p > 0.0; }
};

/// log_probs [S] and entropy [S], float32.
struct TokenStatistics {
  at::Tensor log_probs;
  at::Tensor entropy;
};

/// logits [S,V], targets [S] int64. Temperature 0 is read as 1: a point mass has no gradient. A
/// target outside its row's support is added to it.
TokenStatistics token_statistics(const at::Tensor& logits, const at::Tensor& targets,
                                 const SamplingOptions& options);
/// The most likely tokens of each row in falling order, of equals the lowest id first: tokens [S,k]
/// int64 and log_probs [S,k] float32; -1 and 0 where the support holds fewer than k.
struct TopTokens {
  at::Tensor tokens;
  at::Tensor log_probs;
};
/// logits [S,V]. Log-probs are those of token_statistics, to the bit where a kernel computes both.
TopTokens top_tokens(const at::Tensor& logits, std::int64_t count, const SamplingOptions& options);
/// d loss / d logits [S,V], given those of the log-probs [S] and, unless undefined, of the entropy
/// [S]. The support counts as constant.
at::Tensor token_statistics_backward(const at::Tensor& logits, const at::Tensor& targets,
                                     const SamplingOptions& options, const at::Tensor& d_log_probs,
                                     const at::Tensor& d_entropy);
/// [S,V] bool: the tokens that top_k, top_p and min_p leave. Of equal logits the lower ids stay.
at::Tensor support_of(const at::Tensor& logits, const SamplingOptions& options);

}  // namespace rewardloom
