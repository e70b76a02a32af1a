#include "nodes/text/cpu_network.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "nodes/text/weight_names.h"

namespace rewardloom {

void FlatTokens::add(std::int64_t id, std::int64_t at, std::int64_t in_slot) {
  token.push_back(id);
  position.push_back(static_cast<std::int32_t>(at));
  slot.push_back(static_cast<std::int32_t>(in_slot));
}

namespace {

AttentionShape attention_shape(const ModelConfig& c, std::int64_t capacity) {
  return {c.heads, c.key_value_heads, c.head_size, padded_to_lanes(c.head_size),
          padded_to_lanes(capacity)};
}

std::vector<float> floats_of(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

/// The packed factor of x W^T, for W [out, in].
PackedMatrix packed_transpose(const at::Tensor& w, FactorType type) {
  return {w.data_ptr<float>(), w.size(1), w.size(0), 1, w.size(1), type};
}
/// The packed factor of d W.
PackedMatrix packed(const at::Tensor& w, FactorType type) {
  return {w.data_ptr<float>(), w.size(0), w.size(1), w.size(1), 1, type};
}

std::string layer_name(std::int64_t index, const char* rest) {
  return fmt::format("model.layers.{}.{}", index, rest);
}

/// Null where the gradient is not wanted.
float* gradient(WeightMap& gradients, const std::string& name) {
  const auto found = gradients.find(name);
  return found == gradients.end() ? nullptr : found->second.data_ptr<float>();
}

void resize(std::vector<float>& v, std::int64_t size) {
  if (static_cast<std::int64_t>(v.size()) < size) v.resize(static_cast<std::size_t>(size));
}

/// d_weight [rows, b.columns] += d^T b for d's columns from `first` on.
void add_outer(std::int64_t rows, const float* d, std::int64_t first, std::int64_t d_stride,
               const PackedMatrix& b, float* d_weight) {
  if (d_weight == nullptr) return;
  matrix_product(rows, {d + first, 1, d_stride}, b, d_weight, b.columns(), true);
}

/// Rows in parts of a few, for threads to share.
struct RowParts {
  static constexpr std::int64_t size = 4;
  std::int64_t rows, count;
  const ParallelCalls* parallel;
  RowParts(std::int64_t rows_there, const ParallelCalls* calls)
      : rows(rows_there),
        count(calls == nullptr ? 1 : std::max<std::int64_t>(1, (rows + size - 1) / size)),
        parallel(calls) {}

  /// Calls call(part, first row, one past the last).
  template <class Call>
  void run(const Call& call) const {
    if (count == 1) return call(0, 0, rows);
    (*parallel)(static_cast<std::size_t>(count), [&](std::size_t part) {
      const std::int64_t first = static_cast<std::int64_t>(part) * size;
      call(static_cast<std::int64_t>(part), first, std::min(rows, first + size));
    });
  }
};

}  // namespace

KeyValueCache::KeyValueCache(const ModelConfig& config, std::int64_t layers, std::int64_t slots,
                             std::int64_t capacity)
    : shape_(attention_shape(config, capacity)), layers_(layers), slots_(slots) {
  data_.resize(static_cast<std::size_t>(layers * slots * shape_.key_value_heads *
                                        (shape_.head_size + shape_.padded_head) * shape_.capacity));
}

HeadCache KeyValueCache::at(std::int64_t layer, std::int64_t slot, std::int64_t head) {
  const std::int64_t keys = shape_.head_size * shape_.capacity;
  const std::int64_t size = keys + shape_.padded_head * shape_.capacity;
  float* const start =
      data_.data() + ((layer * slots_ + slot) * shape_.key_value_heads + head) * size;
  return {start, start + keys};
}

void KeyValueCache::copy_slot(std::int64_t from, std::int64_t to, std::int64_t length) {
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    for (std::int64_t head = 0; head < shape_.key_value_heads; ++head) {
      const HeadCache source = at(layer, from, head), target = at(layer, to, head);
      for (std::int64_t i = 0; i < shape_.head_size; ++i) {
        std::memcpy(target.keys + i * shape_.capacity, source.keys + i * shape_.capacity,
                    length * sizeof(float));
      }
      std::memcpy(target.values, source.values, length * shape_.padded_head * sizeof(float));
    }
  }
}

CpuNetwork::CpuNetwork(const ModelConfig& config, const WeightMap& weights,
                       std::shared_ptr<const RotaryTable> rotary, bool with_gradient)
    : config_(config),
      shape_(attention_shape(config, 1)),
      qkv_width_(config.query_width() + 2 * config.key_value_width()),
      with_gradient_(with_gradient),
      type_(config.compute == ComputeType::bfloat16 ? FactorType::bfloat16 : FactorType::float32),
      embedding_(weights.at("model.embed_tokens.weight").detach().clone()),
      last_norm_(floats_of(weights.at("model.norm.weight"))),
      rotary_(std::move(rotary)) {
  const at::Tensor head = weights.at(head_module(config) + ".weight");
  if (head_has_bias(config)) head_bias_ = floats_of(weights.at(head_module(config) + ".bias"));
  head_ = packed_transpose(head.contiguous(), type_);
  if (with_gradient) head_back_ = packed(head.contiguous(), type_);
  for (std::int64_t i = 0; i < config.layers; ++i) layers_.push_back(make_layer(weights, i));
}

CpuNetwork::Layer CpuNetwork::make_layer(const WeightMap& weights, std::int64_t index) const {
  const auto named = [&](const char* name) { return weights.at(layer_name(index, name)); };
  const auto joined = [&](std::initializer_list<const char*> names) {
    std::vector<at::Tensor> parts;
    for (const char* name : names) parts.push_back(named(name));
    return at::cat(parts).contiguous();
  };
  Layer layer;
  layer.input_norm = floats_of(named("input_layernorm.weight"));
  layer.middle_norm = floats_of(named("post_attention_layernorm.weight"));
  const auto factor = [&](const at::Tensor& weight, PackedMatrix& forward, PackedMatrix& back) {
    const at::Tensor w = weight.contiguous();
    forward = packed_transpose(w, type_);
    if (with_gradient_) back = packed(w, type_);
  };
  factor(joined({"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"}),
         layer.qkv, layer.qkv_back);
  factor(named("self_attn.o_proj.weight"), layer.out, layer.out_back);
  factor(joined({"mlp.gate_proj.weight", "mlp.up_proj.weight"}), layer.gate_up, layer.gate_up_back);
  factor(named("mlp.down_proj.weight"), layer.down, layer.down_back);
  if (config_.query_key_value_bias) {
    layer.qkv_bias = floats_of(
        joined({"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"}));
  }
  if (config_.output_bias) layer.out_bias = floats_of(named("self_attn.o_proj.bias"));
  if (config_.feed_forward_bias) {
    layer.gate_up_bias = floats_of(joined({"mlp.gate_proj.bias", "mlp.up_proj.bias"}));
    layer.down_bias = floats_of(named("mlp.down_proj.bias"));
  }
  if (config_.query_key_norm) {
    layer.query_norm = floats_of(named("self_attn.q_norm.weight"));
    layer.key_norm = floats_of(named("self_attn.k_norm.weight"));
  }
  return layer;
}

void CpuNetwork::normalise_heads(const Layer& layer, std::int64_t tokens,
                                 LayerActivations& l) const {
  const std::int64_t normed_heads = shape_.heads + shape_.key_value_heads;
  resize(l.raw, tokens * qkv_width_);
  resize(l.raw_inverse, tokens * normed_heads);
  std::memcpy(l.raw.data(), l.qkv.data(), tokens * qkv_width_ * sizeof(float));
  for (std::int64_t h = 0; h < normed_heads; ++h) {
    const float* weight = h < shape_.heads ? layer.query_norm.data() : layer.key_norm.data();
    rms_norm(tokens, shape_.head_size, ConstRows(l.raw.data() + h * shape_.head_size, qkv_width_),
             weight, config_.rms_epsilon, {l.qkv.data() + h * shape_.head_size, qkv_width_},
             l.raw_inverse.data() + h * tokens);
  }
}

void CpuNetwork::attend_all(const FlatTokens& tokens, KeyValueCache& cache, std::int64_t index,
                            Activations& a, LayerActivations& l) const {
  const std::int64_t e = shape_.head_size, capacity = cache.shape().capacity;
  const std::int64_t at_layer = index % cache.layers(), window = config_.window(index),
                     shared = shape_.heads / shape_.key_value_heads;
  const RowParts parts(tokens.size(), a.parallel);
  resize(a.scores, parts.count * capacity);
  parts.run([&](std::int64_t part, std::int64_t first, std::int64_t last) {
    float* const scores = a.scores.data() + part * capacity;
    for (std::int64_t t = first; t < last; ++t) {
      for (std::int64_t h = 0; h < shape_.heads; ++h) {
        attend(cache.shape(), l.qkv.data() + t * qkv_width_ + h * e,
               first_seen(tokens.position[t], window), tokens.position[t],
               cache.at(at_layer, tokens.slot[t], h / shared), scores,
               l.attended.data() + t * config_.query_width() + h * e);
      }
    }
  });
}

void CpuNetwork::attention(const Layer& layer, const FlatTokens& tokens, KeyValueCache& cache,
                           std::int64_t index, Activations& a, LayerActivations& l) const {
  const std::int64_t count = tokens.size(), width = config_.hidden_size;
  const std::int64_t query_width = config_.query_width(), e = shape_.head_size;
  rms_norm(count, width, ConstRows(a.hidden.data(), width), layer.input_norm.data(),
           config_.rms_epsilon, {a.normed.data(), width}, l.input_inverse.data());
  matrix_product(count, {a.normed.data(), width, 1}, layer.qkv, l.qkv.data(), qkv_width_, false,
                 a.parallel);
  const Rows qkv{l.qkv.data(), qkv_width_};
  if (!layer.qkv_bias.empty()) add_bias(count, qkv_width_, layer.qkv_bias.data(), qkv);
  if (config_.query_key_norm) normalise_heads(layer, count, l);
  rotate(count, shape_.heads + shape_.key_value_heads, e, *rotary_, tokens.position.data(), qkv, 1);
  const std::int64_t at_layer = index % cache.layers();
  for (std::int64_t t = 0; t < count; ++t) {
    for (std::int64_t g = 0; g < shape_.key_value_heads; ++g) {
      const float* key = qkv[t] + query_width + g * e;
      store_key_value(cache.shape(), key, key + config_.key_value_width(), tokens.position[t],
                      cache.at(at_layer, tokens.slot[t], g));
    }
  }
  attend_all(tokens, cache, index, a, l);
  matrix_product(count, {l.attended.data(), query_width, 1}, layer.out, a.hidden.data(), width,
                 true, a.parallel);
  if (!layer.out_bias.empty())
    add_bias(count, width, layer.out_bias.data(), {a.hidden.data(), width});
}

void CpuNetwork::feed_forward(const Layer& layer, std::int64_t tokens, Activations& a,
                              LayerActivations& l) const {
  const std::int64_t width = config_.hidden_size, inner = config_.intermediate_size;
  const Rows hidden{a.hidden.data(), width};
  rms_norm(tokens, width, hidden, layer.middle_norm.data(), config_.rms_epsilon,
           {a.normed.data(), width}, l.middle_inverse.data());
  matrix_product(tokens, {a.normed.data(), width, 1}, layer.gate_up, l.gate_up.data(), 2 * inner,
                 false, a.parallel);
  const Rows gate_up{l.gate_up.data(), 2 * inner};
  if (!layer.gate_up_bias.empty()) add_bias(tokens, 2 * inner, layer.gate_up_bias.data(), gate_up);
  RowParts(tokens, a.parallel).run([&](std::int64_t, std::int64_t first, std::int64_t last) {
    gated_unit(last - first, inner, ConstRows(gate_up[first], gate_up.stride),
               {a.gated.data() + first * inner, inner});
  });
  matrix_product(tokens, {a.gated.data(), inner, 1}, layer.down, hidden.data, width, true,
                 a.parallel);
  if (!layer.down_bias.empty()) add_bias(tokens, width, layer.down_bias.data(), hidden);
}

void CpuNetwork::run_layer(std::int64_t index, const FlatTokens& tokens, KeyValueCache& cache,
                           Activations& a, LayerActivations& l, bool keep) const {
  const std::int64_t count = tokens.size(), width = config_.hidden_size;
  resize(l.input_inverse, count);
  resize(l.middle_inverse, count);
  resize(l.qkv, count * qkv_width_);
  resize(l.attended, count * config_.query_width());
  resize(l.gate_up, count * 2 * config_.intermediate_size);
  if (keep) l.input.assign(a.hidden.begin(), a.hidden.begin() + count * width);
  attention(layers_[index], tokens, cache, index, a, l);
  if (keep) l.middle.assign(a.hidden.begin(), a.hidden.begin() + count * width);
  feed_forward(layers_[index], count, a, l);
}

void CpuNetwork::forward(const FlatTokens& tokens, KeyValueCache& cache,
                         const std::vector<std::int64_t>& selected, Activations& a, Kept kept,
                         float* logits, const ParallelCalls* parallel) const {
  a.parallel = parallel;
  const std::int64_t count = tokens.size(), width = config_.hidden_size;
  const std::int64_t chosen = static_cast<std::int64_t>(selected.size());
  const std::size_t row_bytes = width * sizeof(float);
  resize(a.hidden, count * width);
  resize(a.normed, count * width);
  resize(a.gated, count * config_.intermediate_size);
  const bool all = kept == Kept::everything;
  if (a.layers.size() < (all ? layers_.size() : 1)) a.layers.resize(all ? layers_.size() : 1);
  if (kept == Kept::inputs) a.inputs.resize(layers_.size());
  const float* embedding = embedding_.data_ptr<float>();
  for (std::int64_t t = 0; t < count; ++t) {
    std::memcpy(a.hidden.data() + t * width, embedding + tokens.token[t] * width, row_bytes);
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (kept == Kept::inputs) {
      a.inputs[i].assign(a.hidden.begin(), a.hidden.begin() + count * width);
    }
    run_layer(static_cast<std::int64_t>(i), tokens, cache, a, a.layers[all ? i : 0], all);
  }
  resize(a.last, chosen * width);
  resize(a.last_normed, chosen * width);
  resize(a.last_inverse, chosen);
  for (std::int64_t r = 0; r < chosen; ++r) {
    std::memcpy(a.last.data() + r * width, a.hidden.data() + selected[r] * width, row_bytes);
  }
  rms_norm(chosen, width, ConstRows(a.last.data(), width), last_norm_.data(), config_.rms_epsilon,
           {a.last_normed.data(), width}, a.last_inverse.data());
  const std::int64_t outputs = config_.outputs();
  matrix_product(chosen, {a.last_normed.data(), width, 1}, head_, logits, outputs, false,
                 a.parallel);
  if (!head_bias_.empty()) add_bias(chosen, outputs, head_bias_.data(), {logits, outputs});
}

// ---- backward ----

void CpuNetwork::head_backward(const std::vector<std::int64_t>& selected, Activations& a,
                               const float* d_logits, WeightMap& gradients) const {
  const std::int64_t width = config_.hidden_size, outputs = config_.outputs();
  const std::int64_t chosen = static_cast<std::int64_t>(selected.size());
  a.packed.assign(a.last_normed.data(), chosen, width, width, 1, type_);
  const std::string head = head_module(config_);
  add_outer(outputs, d_logits, 0, outputs, a.packed, gradient(gradients, head + ".weight"));
  if (!head_bias_.empty()) {
    bias_backward(chosen, outputs, ConstRows(d_logits, outputs),
                  gradient(gradients, head + ".bias"));
  }
  std::vector<float> d_normed(chosen * width), d_last(chosen * width, 0.0f);
  matrix_product(chosen, {d_logits, outputs, 1}, head_back_, d_normed.data(), width, false);
  rms_norm_backward(chosen, width, ConstRows(a.last.data(), width), last_norm_.data(),
                    a.last_inverse.data(), ConstRows(d_normed.data(), width),
                    {d_last.data(), width}, gradient(gradients, "model.norm.weight"));
  for (std::int64_t r = 0; r < chosen; ++r) {
    float* to = a.d_hidden.data() + selected[r] * width;
    for (std::int64_t i = 0; i < width; ++i) to[i] += d_last[r * width + i];
  }
}

void CpuNetwork::feed_forward_backward(std::int64_t index, std::int64_t tokens, Activations& a,
                                       LayerActivations& l, WeightMap& gradients) const {
  const Layer& layer = layers_[index];
  const std::int64_t width = config_.hidden_size, inner = config_.intermediate_size;
  const auto grad = [&](const char* name) { return gradient(gradients, layer_name(index, name)); };
  const float* dx = a.d_hidden.data();
  const ConstRows gate_up(l.gate_up.data(), 2 * inner);
  gated_unit(tokens, inner, gate_up, {a.gated.data(), inner});
  a.packed.assign(a.gated.data(), tokens, inner, inner, 1, type_);
  add_outer(width, dx, 0, width, a.packed, grad("mlp.down_proj.weight"));
  if (config_.feed_forward_bias) {
    bias_backward(tokens, width, ConstRows(dx, width), grad("mlp.down_proj.bias"));
  }
  matrix_product(tokens, {dx, width, 1}, layer.down_back, a.d_gated.data(), inner, false);
  gated_unit_backward(tokens, inner, gate_up, ConstRows(a.d_gated.data(), inner),
                      {a.d_gate_up.data(), 2 * inner});
  rms_norm(tokens, width, ConstRows(l.middle.data(), width), layer.middle_norm.data(),
           config_.rms_epsilon, {a.normed.data(), width}, l.middle_inverse.data());
  a.packed.assign(a.normed.data(), tokens, width, width, 1, type_);
  add_outer(inner, a.d_gate_up.data(), 0, 2 * inner, a.packed, grad("mlp.gate_proj.weight"));
  add_outer(inner, a.d_gate_up.data(), inner, 2 * inner, a.packed, grad("mlp.up_proj.weight"));
  if (config_.feed_forward_bias) {
    bias_backward(tokens, inner, ConstRows(a.d_gate_up.data(), 2 * inner),
                  grad("mlp.gate_proj.bias"));
    bias_backward(tokens, inner, ConstRows(a.d_gate_up.data() + inner, 2 * inner),
                  grad("mlp.up_proj.bias"));
  }
  matrix_product(tokens, {a.d_gate_up.data(), 2 * inner, 1}, layer.gate_up_back, a.d_normed.data(),
                 width, false);
  rms_norm_backward(tokens, width, ConstRows(l.middle.data(), width), layer.middle_norm.data(),
                    l.middle_inverse.data(), ConstRows(a.d_normed.data(), width),
                    {a.d_hidden.data(), width}, grad("post_attention_layernorm.weight"));
}

void CpuNetwork::heads_backward(std::int64_t index, std::int64_t tokens, Activations& a,
                                const LayerActivations& l, WeightMap& gradients) const {
  const Layer& layer = layers_[index];
  a.d_raw.assign(tokens * qkv_width_, 0.0f);
  for (std::int64_t h = 0; h < shape_.heads + shape_.key_value_heads; ++h) {
    const bool query = h < shape_.heads;
    const std::int64_t at = h * shape_.head_size;
    rms_norm_backward(
        tokens, shape_.head_size, ConstRows(l.raw.data() + at, qkv_width_),
        query ? layer.query_norm.data() : layer.key_norm.data(), l.raw_inverse.data() + h * tokens,
        ConstRows(a.d_qkv.data() + at, qkv_width_), {a.d_raw.data() + at, qkv_width_},
        gradient(gradients,
                 layer_name(index, query ? "self_attn.q_norm.weight" : "self_attn.k_norm.weight")));
  }
  const std::int64_t normed = config_.query_width() + config_.key_value_width();
  for (std::int64_t t = 0; t < tokens; ++t) {
    std::memcpy(a.d_qkv.data() + t * qkv_width_, a.d_raw.data() + t * qkv_width_,
                normed * sizeof(float));
  }
}

void CpuNetwork::attention_part_backward(std::int64_t index, const FlatTokens& tokens,
                                         const std::vector<std::int64_t>& lengths, Activations& a,
                                         LayerActivations& l, WeightMap& gradients) const {
  const Layer& layer = layers_[index];
  const std::int64_t count = tokens.size(), width = config_.hidden_size;
  const std::int64_t queries = config_.query_width(), keys = config_.key_value_width();
  const auto grad = [&](const char* name) { return gradient(gradients, layer_name(index, name)); };
  a.packed.assign(l.attended.data(), count, queries, queries, 1, type_);
  add_outer(width, a.d_hidden.data(), 0, width, a.packed, grad("self_attn.o_proj.weight"));
  if (config_.output_bias) {
    bias_backward(count, width, ConstRows(a.d_hidden.data(), width), grad("self_attn.o_proj.bias"));
  }
  matrix_product(count, {a.d_hidden.data(), width, 1}, layer.out_back, a.d_attended.data(), queries,
                 false);
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    attention_backward(attention_shape(config_, length), length, config_.window(index),
                       ConstRows(l.qkv.data() + first * qkv_width_, qkv_width_),
                       ConstRows(a.d_attended.data() + first * queries, queries),
                       {a.d_qkv.data() + first * qkv_width_, qkv_width_}, a.scratch);
    first += length;
  }
  rotate(count, shape_.heads + shape_.key_value_heads, shape_.head_size, *rotary_,
         tokens.position.data(), {a.d_qkv.data(), qkv_width_}, -1);
  if (config_.query_key_norm) heads_backward(index, count, a, l, gradients);
  rms_norm(count, width, ConstRows(l.input.data(), width), layer.input_norm.data(),
           config_.rms_epsilon, {a.normed.data(), width}, l.input_inverse.data());
  a.packed.assign(a.normed.data(), count, width, width, 1, type_);
  const float* d_qkv = a.d_qkv.data();
  add_outer(queries, d_qkv, 0, qkv_width_, a.packed, grad("self_attn.q_proj.weight"));
  add_outer(keys, d_qkv, queries, qkv_width_, a.packed, grad("self_attn.k_proj.weight"));
  add_outer(keys, d_qkv, queries + keys, qkv_width_, a.packed, grad("self_attn.v_proj.weight"));
  if (config_.query_key_value_bias) {
    bias_backward(count, queries, ConstRows(d_qkv, qkv_width_), grad("self_attn.q_proj.bias"));
    bias_backward(count, keys, ConstRows(d_qkv + queries, qkv_width_),
                  grad("self_attn.k_proj.bias"));
    bias_backward(count, keys, ConstRows(d_qkv + queries + keys, qkv_width_),
                  grad("self_attn.v_proj.bias"));
  }
  matrix_product(count, {d_qkv, qkv_width_, 1}, layer.qkv_back, a.d_normed.data(), width, false);
  rms_norm_backward(count, width, ConstRows(l.input.data(), width), layer.input_norm.data(),
                    l.input_inverse.data(), ConstRows(a.d_normed.data(), width),
                    {a.d_hidden.data(), width}, grad("input_layernorm.weight"));
}

void CpuNetwork::backward(const FlatTokens& tokens, const std::vector<std::int64_t>& lengths,
                          const std::vector<std::int64_t>& selected, Activations& a, Kept kept,
                          const float* d_logits, WeightMap& gradients) const {
  const std::int64_t count = tokens.size(), width = config_.hidden_size;
  a.parallel = nullptr;
  a.d_hidden.assign(count * width, 0.0f);
  resize(a.d_normed, count * width);
  resize(a.d_gated, count * config_.intermediate_size);
  resize(a.d_gate_up, count * 2 * config_.intermediate_size);
  resize(a.d_qkv, count * qkv_width_);
  resize(a.d_attended, count * config_.query_width());
  head_backward(selected, a, d_logits, gradients);
  const bool recompute = kept == Kept::inputs;
  KeyValueCache cache(config_, recompute ? 1 : 0, static_cast<std::int64_t>(lengths.size()),
                      *std::max_element(lengths.begin(), lengths.end()));
  for (std::int64_t i = config_.layers - 1; i >= 0; --i) {
    LayerActivations& l = a.layers[recompute ? 0 : i];
    if (recompute) {
      std::copy(a.inputs[i].begin(), a.inputs[i].end(), a.hidden.begin());
      run_layer(i, tokens, cache, a, l, true);
    }
    feed_forward_backward(i, count, a, l, gradients);
    attention_part_backward(i, tokens, lengths, a, l, gradients);
  }
  float* const embedding = gradient(gradients, "model.embed_tokens.weight");
  if (embedding == nullptr) return;
  for (std::int64_t t = 0; t < count; ++t) {
    float* to = embedding + tokens.token[t] * width;
    const float* from = a.d_hidden.data() + t * width;
    for (std::int64_t i = 0; i < width; ++i) to[i] += from[i];
  }
}

}  // namespace rewardloom
