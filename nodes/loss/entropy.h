// Entropy of the next-token distribution.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// H = logsumexp(z) - sum softmax(z) z over the last dimension. logits [..,V] -> [..], in nats.
/// Logits of -inf (tokens that are ruled out) count as probability 0.
at::Tensor token_entropy(const at::Tensor& logits);

}  // namespace rewardloom
