// A decoder's forward and backward pass on the CPU, over unpadded tokens.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "nodes/text/layer_kernels.h"
#include "nodes/text/matrix_product.h"
#include "nodes/text/model_config.h"
#include "nodes/text/model_weights.h"

namespace rewardloom {

/// M tokens one after the other; each lies at a position of the sequence in a slot of a cache.
struct FlatTokens {
  std::vector<std::int64_t> token;
  std::vector<std::int32_t> position;
  std::vector<std::int32_t> slot;
  std::int64_t size() const { return static_cast<std::int64_t>(token.size()); }
  void add(std::int64_t id, std::int64_t at, std::int64_t in_slot);
};

/// Keys and values of `slots` sequences of up to `capacity` tokens.
class KeyValueCache {
 public:
  KeyValueCache(const ModelConfig& config, std::int64_t layers, std::int64_t slots,
                std::int64_t capacity);
  const AttentionShape& shape() const { return shape_; }
  HeadCache at(std::int64_t layer, std::int64_t slot, std::int64_t head);
  /// Makes the first `length` positions of slot `to` those of slot `from`.
  void copy_slot(std::int64_t from, std::int64_t to, std::int64_t length);
  /// A cache of one layer serves every layer of a pass over whole sequences, one after the other.
  std::int64_t layers() const { return layers_; }

 private:
  AttentionShape shape_;
  std::int64_t layers_;
  std::int64_t slots_;
  std::vector<float> data_;
};

/// What a forward pass keeps for the backward pass: all, or what the layers were given, from which
/// the backward pass computes the rest anew, to the same bits.
enum class Kept { nothing, inputs, everything };

/// What one layer leaves for the backward pass; [tokens, width] each, or [tokens].
struct LayerActivations {
  std::vector<float> input, input_inverse;
  std::vector<float> raw, raw_inverse;  ///< queries, keys, values before their norm, if it has one
  std::vector<float> qkv, attended;
  std::vector<float> middle, middle_inverse;
  std::vector<float> gate_up;
};

/// Memory of a pass, kept between passes to save its allocation.
struct Activations {
  std::vector<LayerActivations> layers;    ///< one, unless everything is kept
  std::vector<std::vector<float>> inputs;  ///< of each layer, where these are kept
  std::vector<float> hidden, normed, gated, scores;
  std::vector<float> last, last_normed, last_inverse;  ///< selected rows
  std::vector<float> d_hidden, d_normed, d_gated, d_gate_up, d_qkv, d_raw, d_attended, scratch;
  PackedMatrix packed;
  const ParallelCalls* parallel = nullptr;  ///< shares the products of this pass among threads
};

/// Weights prepared for the passes: fused, packed, as they were at construction, matrices in the
/// precision of the config. For configs with has_own_kernels(); adapters must have been merged into
/// the weights.
class CpuNetwork {
 public:
  /// Without `with_gradient` only `forward` may be called. `rotary` holds max_positions rows.
  CpuNetwork(const ModelConfig& config, const WeightMap& weights,
             std::shared_ptr<const RotaryTable> rotary, bool with_gradient);

  /// Runs the tokens through the network; their sequences' earlier tokens must be in the cache.
  /// Fills logits [selected, outputs] of the chosen tokens (indices into `tokens`). The bits do not
  /// depend on `parallel`, which shares large layers among threads unless it is null.
  void forward(const FlatTokens& tokens, KeyValueCache& cache,
               const std::vector<std::int64_t>& selected, Activations& a, Kept kept, float* logits,
               const ParallelCalls* parallel = nullptr) const;
  /// Adds to `gradients` (float32 tensors under the weights' names; those that are not there are
  /// not computed). The tokens must be whole sequences of `lengths`, as in the forward pass that
  /// kept `a`.
  void backward(const FlatTokens& tokens, const std::vector<std::int64_t>& lengths,
                const std::vector<std::int64_t>& selected, Activations& a, Kept kept,
                const float* d_logits, WeightMap& gradients) const;
  bool with_gradient() const { return with_gradient_; }

 private:
  struct Layer {
    std::vector<float> input_norm, middle_norm, query_norm, key_norm;
    PackedMatrix qkv, out, gate_up, down;
    std::vector<float> qkv_bias, out_bias, gate_up_bias, down_bias;
    PackedMatrix qkv_back, out_back, gate_up_back, down_back;
  };
  Layer make_layer(const WeightMap& weights, std::int64_t index) const;
  void run_layer(std::int64_t index, const FlatTokens& tokens, KeyValueCache& cache, Activations& a,
                 LayerActivations& l, bool keep) const;
  void attention(const Layer& layer, const FlatTokens& tokens, KeyValueCache& cache,
                 std::int64_t index, Activations& a, LayerActivations& l) const;
  void attend_all(const FlatTokens& tokens, KeyValueCache& cache, std::int64_t index,
                  Activations& a, LayerActivations& l) const;
  void normalise_heads(const Layer& layer, std::int64_t tokens, LayerActivations& l) const;
  void feed_forward(const Layer& layer, std::int64_t tokens, Activations& a,
                    LayerActivations& l) const;
  void feed_forward_backward(std::int64_t index, std::int64_t tokens, Activations& a,
                             LayerActivations& l, WeightMap& gradients) const;
  void attention_part_backward(std::int64_t index, const FlatTokens& tokens,
                               const std::vector<std::int64_t>& lengths, Activations& a,
                               LayerActivations& l, WeightMap& gradients) const;
  void heads_backward(std::int64_t index, std::int64_t tokens, Activations& a,
                      const LayerActivations& l, WeightMap& gradients) const;
  void head_backward(const std::vector<std::int64_t>& selected, Activations& a,
                     const float* d_logits, WeightMap& gradients) const;

  ModelConfig config_;
  AttentionShape shape_;
  std::int64_t qkv_width_;
  bool with_gradient_;
  FactorType type_;
  at::Tensor embedding_;
  std::vector<float> last_norm_, head_bias_;
  PackedMatrix head_, head_back_;
  std::vector<Layer> layers_;
  std::shared_ptr<const RotaryTable> rotary_;
};

}  // namespace rewardloom
