#include "nodes/text/aten_network.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace rewardloom {

namespace {

constexpr double unseen = -1e9;

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  return x * (x.square().mean(-1, true) + epsilon).rsqrt() * weight;
}

/// x [N,H,T,E] rotated in halves by cosine and sine [N,1,T,E/2].
at::Tensor rotated(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor low = x.narrow(-1, 0, half), high = x.narrow(-1, half, half);
  return at::cat({low * cosine - high * sine, high * cosine + low * sine}, -1);
}

struct Rotation {
  at::Tensor cosine;
  at::Tensor sine;
};

Rotation rotation_at(const ModelConfig& config, const at::Tensor& positions) {
  const std::vector<double> frequencies = rotary_frequencies(config);
  const at::Tensor row =
      at::tensor(frequencies, at::TensorOptions().dtype(at::kDouble)).to(positions.device());
  const at::Tensor angle = positions.to(at::kDouble).unsqueeze(-1).unsqueeze(1) * row;
  return {angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
}

/// One layer's weights by their short names.
class LayerWeights {
 public:
  LayerWeights(const WeightMap& weights, std::int64_t index)
      : weights_(weights), prefix_(fmt::format("model.layers.{}.", index)) {}
  at::Tensor operator()(const char* name) const { return weights_.at(prefix_ + name); }
  at::Tensor linear(const std::string& name, const at::Tensor& x) const {
    const auto bias = weights_.find(prefix_ + name + ".bias");
    const at::Tensor& weight = weights_.at(prefix_ + name + ".weight");
    return bias == weights_.end() ? at::linear(x, weight) : at::linear(x, weight, bias->second);
  }

 private:
  const WeightMap& weights_;
  std::string prefix_;
};

at::Tensor with_cache(at::Tensor& cached, const at::Tensor& fresh, const at::Tensor& positions,
                      std::int64_t seen) {
  const at::Tensor where = positions.unsqueeze(1).unsqueeze(-1).expand(fresh.sizes());
  cached.scatter_(2, where, fresh);
  return cached.narrow(2, 0, seen);
}

at::Tensor attention(const ModelConfig& c, const LayerWeights& w, const at::Tensor& x,
                     const AttentionView& view, const Rotation& rotation, TensorCache* cache,
                     std::int64_t layer) {
  const std::int64_t n = x.size(0), t = x.size(1);
  const auto heads = [&](const char* name, std::int64_t count) {
    return w.linear(name, x).view({n, t, count, c.head_size}).transpose(1, 2);
  };
  at::Tensor query = heads("self_attn.q_proj", c.heads);
  at::Tensor key = heads("self_attn.k_proj", c.key_value_heads);
  at::Tensor value = heads("self_attn.v_proj", c.key_value_heads);
  if (c.query_key_norm) {
    query = norm(query, w("self_attn.q_norm.weight"), c.rms_epsilon);
    key = norm(key, w("self_attn.k_norm.weight"), c.rms_epsilon);
  }
  query = rotated(query, rotation.cosine, rotation.sine);
  key = rotated(key, rotation.cosine, rotation.sine);
  if (cache != nullptr) {
    const std::int64_t seen = view.bias.size(-1);
    key = with_cache(cache->keys[layer], key, view.positions, seen);
    value = with_cache(cache->values[layer], value, view.positions, seen);
  }
  const std::int64_t shared = c.heads / c.key_value_heads;
  if (shared > 1) {
    key = key.repeat_interleave(shared, 1);
    value = value.repeat_interleave(shared, 1);
  }
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.head_size));
  const at::Tensor score = at::matmul(query, key.transpose(-1, -2)) * scale + view.bias;
  const at::Tensor mixed = at::matmul(score.softmax(-1), value).transpose(1, 2);
  return w.linear("self_attn.o_proj", mixed.reshape({n, t, c.query_width()}));
}

}  // namespace

AttentionView masked_view(const at::Tensor& mask) {
  const std::int64_t t = mask.size(1);
  const at::Tensor causal = at::ones({t, t}, mask.options()).tril();
  const at::Tensor seen = causal.logical_and(mask.unsqueeze(1)).unsqueeze(1);
  AttentionView view;
  view.positions = (mask.to(at::kLong).cumsum(1) - 1).clamp_min(0);
  view.bias = at::zeros(seen.sizes(), seen.options().dtype(at::kFloat))
                  .masked_fill(seen.logical_not(), unseen);
  return view;
}

at::Tensor network_hidden(const ModelConfig& c, const WeightMap& weights, const at::Tensor& tokens,
                          const AttentionView& view, TensorCache* cache) {
  const Rotation rotation = rotation_at(c, view.positions);
  at::Tensor x = at::embedding(weights.at("model.embed_tokens.weight"), tokens);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const LayerWeights w(weights, i);
    x = x + attention(c, w, norm(x, w("input_layernorm.weight"), c.rms_epsilon), view, rotation,
                      cache, i);
    const at::Tensor y = norm(x, w("post_attention_layernorm.weight"), c.rms_epsilon);
    const at::Tensor gated = at::silu(w.linear("mlp.gate_proj", y)) * w.linear("mlp.up_proj", y);
    x = x + w.linear("mlp.down_proj", gated);
  }
  return norm(x, weights.at("model.norm.weight"), c.rms_epsilon);
}

at::Tensor network_head(const ModelConfig& c, const WeightMap& weights, const at::Tensor& hidden) {
  const char* name = c.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  return at::linear(hidden, weights.at(name));
}

namespace {

struct PaddedTokens {
  at::Tensor tokens;  // [N,T] int64, right-padded with 0
  at::Tensor mask;    // [N,T] bool
};

PaddedTokens padded(const std::vector<std::vector<std::int64_t>>& rows) {
  std::size_t longest = 1;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows.size()),
                                        static_cast<std::int64_t>(longest)};
  PaddedTokens out{at::zeros(shape, at::kLong), at::zeros(shape, at::kBool)};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy(rows[i].begin(), rows[i].end(), out.tokens.data_ptr<std::int64_t>() + i * longest);
    std::fill_n(out.mask.data_ptr<bool>() + i * longest, rows[i].size(), true);
  }
  return out;
}

at::Tensor indices(const std::vector<std::int64_t>& list, c10::Device device) {
  return at::tensor(list, at::TensorOptions().dtype(at::kLong)).to(device);
}

class OperatorScoring final : public ScoringPass {
 public:
  OperatorScoring(const ModelConfig& config, const WeightMap& weights,
                  const TokenSequences& sequences, bool with_gradient) {
    const c10::AutoGradMode mode(with_gradient);
    for (const auto& [name, weight] : weights) {
      leaves_[name] = with_gradient ? weight.detach().requires_grad_() : weight;
    }
    const c10::Device device = weights.begin()->second.device();
    const PaddedTokens rows = padded(sequences.tokens);
    const at::Tensor hidden = network_hidden(config, leaves_, rows.tokens.to(device),
                                             masked_view(rows.mask.to(device)), nullptr);
    std::vector<std::int64_t> wanted;
    for (std::size_t i = 0; i < sequences.wanted.size(); ++i) {
      for (const std::int64_t at : sequences.wanted[i]) wanted.push_back(i * hidden.size(1) + at);
    }
    const at::Tensor chosen =
        hidden.reshape({-1, hidden.size(2)}).index_select(0, indices(wanted, device));
    differentiable_ = network_head(config, leaves_, chosen);
    logits_ = differentiable_.detach();
  }

  void backward(const at::Tensor& d_logits, WeightMap& gradients) override {
    differentiable_.backward(d_logits);
    for (auto& [name, leaf] : leaves_) {
      if (leaf.grad().defined()) gradients.at(name).add_(leaf.grad());
    }
  }

 private:
  WeightMap leaves_;
  at::Tensor differentiable_;
};

class OperatorSession final : public DecodingSession {
 public:
  OperatorSession(const ModelConfig& config, const WeightMap& weights, std::int64_t capacity)
      : config_(config),
        weights_(weights),
        device_(weights.begin()->second.device()),
        capacity_(capacity) {}

  at::Tensor prefill(const std::vector<std::vector<std::int64_t>>& prompts,
                     const std::vector<std::int64_t>& prompt_of_slot) override {
    const c10::NoGradGuard no_gradient;
    const PaddedTokens rows = padded(prompts);
    make_cache(rows.tokens.size(0));
    const at::Tensor hidden = network_hidden(config_, weights_, rows.tokens.to(device_),
                                             right_padded_view(rows.mask.to(device_)), &cache_);
    const at::Tensor last = (rows.mask.sum(1) - 1).to(device_);
    const at::Tensor chosen =
        hidden.gather(1, last.view({-1, 1, 1}).expand({-1, 1, hidden.size(2)})).squeeze(1);
    select(indices(prompt_of_slot, device_));
    lengths_.clear();
    for (const std::int64_t p : prompt_of_slot) lengths_.push_back(prompts[p].size());
    row_of_slot_.resize(prompt_of_slot.size());
    for (std::size_t i = 0; i < row_of_slot_.size(); ++i) row_of_slot_[i] = i;
    return network_head(config_, weights_, chosen)
        .index_select(0, indices(prompt_of_slot, device_));
  }

  at::Tensor step(const std::vector<std::int64_t>& slots,
                  const std::vector<std::int64_t>& tokens) override {
    const c10::NoGradGuard no_gradient;
    if (4 * slots.size() < 3 * static_cast<std::size_t>(cache_.keys[0].size(0))) compact(slots);
    const std::int64_t rows = cache_.keys[0].size(0);
    std::vector<std::int64_t> token_of_row(rows, 0), position_of_row(rows, 0), row_list;
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::int64_t row = row_of_slot_[slots[i]];
      token_of_row[row] = tokens[i];
      position_of_row[row] = lengths_[slots[i]]++;
      longest = std::max(longest, position_of_row[row]);
      row_list.push_back(row);
    }
    AttentionView view;
    view.positions = indices(position_of_row, device_).unsqueeze(1);
    const at::Tensor key = at::arange(longest + 1, at::TensorOptions(at::kLong).device(device_));
    const at::Tensor hidden_keys = key.view({1, 1, 1, -1}) > view.positions.view({-1, 1, 1, 1});
    view.bias = at::zeros(hidden_keys.sizes(), weights_.begin()->second.options())
                    .masked_fill(hidden_keys, unseen);
    const at::Tensor hidden = network_hidden(
        config_, weights_, indices(token_of_row, device_).unsqueeze(1), view, &cache_);
    return network_head(config_, weights_,
                        hidden.squeeze(1).index_select(0, indices(row_list, device_)));
  }

 private:
  void make_cache(std::int64_t rows) {
    const std::vector<std::int64_t> shape{rows, config_.key_value_heads, capacity_,
                                          config_.head_size};
    for (std::int64_t i = 0; i < config_.layers; ++i) {
      cache_.keys.push_back(at::zeros(shape, weights_.begin()->second.options()));
      cache_.values.push_back(at::zeros(shape, weights_.begin()->second.options()));
    }
  }

  /// Padding stands behind the tokens and keeps counting, so that it lands behind them in the
  /// cache.
  static AttentionView right_padded_view(const at::Tensor& mask) {
    AttentionView view = masked_view(mask);
    view.positions = at::arange(mask.size(1), mask.options().dtype(at::kLong)).expand(mask.sizes());
    return view;
  }

  void select(const at::Tensor& rows) {
    for (std::size_t i = 0; i < cache_.keys.size(); ++i) {
      cache_.keys[i] = cache_.keys[i].index_select(0, rows);
      cache_.values[i] = cache_.values[i].index_select(0, rows);
    }
  }

  void compact(const std::vector<std::int64_t>& slots) {
    std::vector<std::int64_t> rows;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      rows.push_back(row_of_slot_[slots[i]]);
      row_of_slot_[slots[i]] = static_cast<std::int64_t>(i);
    }
    select(indices(rows, device_));
  }

  const ModelConfig& config_;
  WeightMap weights_;
  c10::Device device_;
  std::int64_t capacity_;
  TensorCache cache_;
  std::vector<std::int64_t> lengths_;
  std::vector<std::int64_t> row_of_slot_;
};

}  // namespace

std::unique_ptr<ScoringPass> score_with_operators(const ModelConfig& config,
                                                  const WeightMap& weights,
                                                  const TokenSequences& sequences,
                                                  bool with_gradient) {
  return std::make_unique<OperatorScoring>(config, weights, sequences, with_gradient);
}

std::unique_ptr<DecodingSession> decode_with_operators(const ModelConfig& config,
                                                       const WeightMap& weights,
                                                       std::int64_t capacity) {
  return std::make_unique<OperatorSession>(config, weights, capacity);
}

}  // namespace rewardloom
