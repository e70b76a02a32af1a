// A decoder in LibTorch's operators: differentiable, on any device.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <set>
#include <string>

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
  at::Tensor windowed;   ///< the same for layers with a sliding window; undefined: there are none
  at::Tensor frequencies;  ///< [E/2] rotary, double, where they are on the device already
};

/// The weights in the precision of the config's passes, differentiable.
WeightMap computing_weights(const ModelConfig& config, const WeightMap& weights);
/// Normalised hidden states [N,T,D] of tokens [N,T]. With a cache the new keys and values are put
/// at `positions` and the first K cached ones are attended to. Adapters among the weights act
/// beside their layers.
at::Tensor network_hidden(const ModelConfig& config, const WeightMap& weights,
                          const at::Tensor& tokens, const AttentionView& view, TensorCache* cache);
/// What the head gives [...,outputs] for hidden states [...,D], in float32 at least.
at::Tensor network_head(const ModelConfig& config, const WeightMap& weights,
                        const at::Tensor& hidden);
/// Attention among tokens that `mask` [N,T] bool marks, causal unless the config says otherwise;
/// positions count marked tokens. The mask has no gap within a row.
AttentionView masked_view(const at::Tensor& mask, const ModelConfig& config);

/// Both take float32 weights and compute in the config's precision.
/// With gradients with respect to the weights named in `trained`; without where it is empty.
std::unique_ptr<ScoringPass> score_with_operators(const ModelConfig& config,
                                                  const WeightMap& weights,
                                                  const TokenSequences& sequences,
                                                  const std::set<std::string>& trained);
/// `recorded`: steps of fixed shapes, recorded where the device can (recorded_work.h); results may
/// differ from other steps by rounding.
std::unique_ptr<DecodingSession> decode_with_operators(const ModelConfig& config,
                                                       const WeightMap& weights, std::int64_t slots,
                                                       std::int64_t capacity,
                                                       bool recorded = false);

}  // namespace rewardloom
