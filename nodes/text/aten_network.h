// A decoder in LibTorch's operators: differentiable, on any device.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "nodes/text/decoder.h"

namespace rewardloom {

/// Keys and values [slots, key_value_heads, capacity, head_size] of each layer.
struct TensorCache {
  std::vector<at::Tensor> keys;
  std::vector<at::Tensor> values;
};

/// Which keys each query sees, and where the tokens stand.
struct AttentionView {
  at::Tensor positions;  ///< [N,T] int64
  at::Tensor bias;       ///< [N or 1,1,T,K] float: 0 where the key is seen, very negative elsewhere
};

/// Normalised hidden states [N,T,D] of tokens [N,T]. With a cache the new keys and values are put
/// at `positions` and the first K cached ones are attended to.
at::Tensor network_hidden(const ModelConfig& config, const WeightMap& weights,
                          const at::Tensor& tokens, const AttentionView& view, TensorCache* cache);
/// Logits [...,V] of hidden states [...,D].
at::Tensor network_head(const ModelConfig& config, const WeightMap& weights,
                        const at::Tensor& hidden);
/// Causal attention among tokens that `mask` [N,T] bool marks; positions count marked tokens.
AttentionView masked_view(const at::Tensor& mask);

std::unique_ptr<ScoringPass> score_with_operators(const ModelConfig& config,
                                                  const WeightMap& weights,
                                                  const TokenSequences& sequences,
                                                  bool with_gradient);
std::unique_ptr<DecodingSession> decode_with_operators(const ModelConfig& config,
                                                       const WeightMap& weights,
                                                       std::int64_t capacity);

}  // namespace rewardloom
