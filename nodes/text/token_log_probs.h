// Log-probabilities of given tokens under given logits.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct TokenLogProbs {
  at::Tensor log_probs;       ///< [N,T]
  at::Tensor sum_pi_squared;  ///< [N,T] sum of squared probabilities over the vocabulary
};

/// logits [N,T,V]: those at t are of token t (already shifted); tokens [N,T] int64. Logits are
/// divided by `temperature`. log-sum-exp form, differentiable in the logits. Failure `bad-shape`,
/// `bad-token` naming the first id outside the vocabulary.
TokenLogProbs token_log_probs(const at::Tensor& logits, const at::Tensor& tokens,
                              double temperature);

}  // namespace rewardloom
