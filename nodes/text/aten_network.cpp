#include "nodes/text/aten_network.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>

#include "nodes/text/operator_layers.h"
#include "nodes/text/recorded_work.h"
#include "nodes/text/weight_names.h"

namespace rewardloom {

namespace {

constexpr double unseen = -1e9;

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

at::Tensor frequencies_on(const ModelConfig& config, c10::Device device) {
  return at::tensor(rotary_frequencies(config), at::TensorOptions().dtype(at::kDouble)).to(device);
}

Rotation rotation_at(const at::Tensor& positions, const at::Tensor& frequencies) {
  const at::Tensor angle = positions.to(at::kDouble).unsqueeze(-1).unsqueeze(1) * frequencies;
  return {angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
}

bool is_narrow(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

/// One block's layers by their short names.
class Block {
 public:
  Block(const ModelConfig& config, const WeightMap& weights, std::int64_t index)
      : config_(config),
        weights_(weights),
        prefix_(block_prefix(config, index)),
        names_(weight_names(config).block) {}
  const BlockNames& names() const { return names_; }

  at::Tensor norm(const std::string& name, const at::Tensor& x) const {
    return normed(config_.norm, config_.rms_epsilon, weights_, prefix_ + name, x);
  }
  /// The layer, and its adapter where it has one.
  at::Tensor linear(const std::string& name, const at::Tensor& x) const {
    const std::string module = prefix_ + name;
    const at::Tensor y =
        rewardloom::linear(weights_, module, config_.layout == WeightLayout::gpt2, x);
    if (!config_.lora) return y;
    const auto a = weights_.find(module + ".lora_A.weight");
    if (a == weights_.end()) return y;
    const at::Tensor narrow = at::linear(x, a->second);
    return y + at::linear(narrow, weights_.at(module + ".lora_B.weight")) * config_.lora->scale();
  }

 private:
  const ModelConfig& config_;
  const WeightMap& weights_;
  std::string prefix_;
  const BlockNames& names_;
};

at::Tensor with_cache(at::Tensor& cached, const at::Tensor& fresh, const at::Tensor& positions,
                      std::int64_t seen) {
  const at::Tensor where = positions.unsqueeze(1).unsqueeze(-1).expand(fresh.sizes());
  cached.scatter_(2, where, fresh);
  return cached.narrow(2, 0, seen);
}

struct Heads {
  at::Tensor query, key, value;  // [N,H,T,E]
};

Heads heads_of(const ModelConfig& c, const Block& block, const at::Tensor& x,
               const Rotation& rotation) {
  const BlockNames& n = block.names();
  Heads h;
  if (*n.fused) {
    const auto parts = block.linear(n.fused, x).split(c.query_width(), -1);
    h = {split_heads(parts[0], c.heads), split_heads(parts[1], c.heads),
         split_heads(parts[2], c.heads)};
  } else {
    h = {split_heads(block.linear(n.query, x), c.heads),
         split_heads(block.linear(n.key, x), c.key_value_heads),
         split_heads(block.linear(n.value, x), c.key_value_heads)};
  }
  if (c.query_key_norm) {
    h.query = block.norm("self_attn.q_norm", h.query);
    h.key = block.norm("self_attn.k_norm", h.key);
  }
  if (c.positions == PositionKind::rotary) {
    // Angles are float32, and so are the products.
    const at::ScalarType type = h.query.scalar_type();
    h.query = rotated(h.query, rotation.cosine, rotation.sine).to(type);
    h.key = rotated(h.key, rotation.cosine, rotation.sine).to(type);
  }
  return h;
}

at::Tensor attention(const ModelConfig& c, const Block& block, const at::Tensor& x,
                     const AttentionView& view, const Rotation& rotation, TensorCache* cache,
                     std::int64_t layer) {
  Heads h = heads_of(c, block, x, rotation);
  const at::Tensor& bias = c.window(layer) > 0 ? view.windowed : view.bias;
  if (cache != nullptr) {
    h.key = with_cache(cache->keys[layer], h.key, view.positions, bias.size(-1));
    h.value = with_cache(cache->values[layer], h.value, view.positions, bias.size(-1));
  }
  const std::int64_t shared = c.heads / c.key_value_heads;
  if (shared > 1) {
    h.key = h.key.repeat_interleave(shared, 1);
    h.value = h.value.repeat_interleave(shared, 1);
  }
  at::Tensor score = at::matmul(h.query, h.key.transpose(-1, -2));
  if (is_narrow(score.scalar_type())) score = score.to(at::kFloat);
  const at::Tensor weight = (capped(score * c.attention_scale, c.attention_cap) + bias)
                                .softmax(-1)
                                .to(h.value.scalar_type());
  return block.linear(block.names().out, join_heads(at::matmul(weight, h.value)));
}

at::Tensor feed_forward(const ModelConfig& c, const Block& block, const at::Tensor& x) {
  const BlockNames& n = block.names();
  const at::Tensor up = block.linear(n.up, x);
  return block.linear(n.down, c.gated ? activated(c.activation, block.linear(n.gate, x)) * up
                                      : activated(c.activation, up));
}

/// [T,T] bool: which keys a query may see by their order.
at::Tensor visible(std::int64_t tokens, const ModelConfig& config, c10::Device device) {
  const at::Tensor all =
      at::ones({tokens, tokens}, at::TensorOptions().dtype(at::kBool).device(device));
  return config.bidirectional ? all : all.tril();
}

/// [T,T] bool: which keys lie within the sliding window of a query, behind it or ahead.
at::Tensor within_window(std::int64_t tokens, const ModelConfig& config, c10::Device device) {
  return at::ones({tokens, tokens}, at::TensorOptions().dtype(at::kBool).device(device))
      .triu(1 - config.sliding_window)
      .tril(config.sliding_window - 1);
}

/// 0 where a key is seen, very negative elsewhere.
at::Tensor bias_of(const at::Tensor& seen, const at::TensorOptions& options) {
  return at::zeros(seen.sizes(), options).masked_fill(seen.logical_not(), unseen);
}

}  // namespace

AttentionView masked_view(const at::Tensor& mask, const ModelConfig& config) {
  const std::int64_t t = mask.size(1), window = config.sliding_window;
  const at::Tensor order = visible(t, config, mask.device());
  const at::Tensor seen = order.logical_and(mask.unsqueeze(1)).unsqueeze(1);
  const at::TensorOptions options = mask.options().dtype(at::kFloat);
  AttentionView view;
  view.positions = (mask.to(at::kLong).cumsum(1) - 1).clamp_min(0);
  view.bias = bias_of(seen, options);
  if (window > 0) {
    view.windowed = bias_of(seen.logical_and(within_window(t, config, mask.device())), options);
  }
  return view;
}

WeightMap computing_weights(const ModelConfig& config, const WeightMap& weights) {
  if (config.compute == ComputeType::float32) return weights;
  WeightMap out;
  for (const auto& [name, weight] : weights) out[name] = weight.to(at::kBFloat16);
  return out;
}

namespace {

at::Tensor embedded(const ModelConfig& c, const WeightMap& weights, const at::Tensor& tokens,
                    const AttentionView& view) {
  const WeightNames& n = weight_names(c);
  at::Tensor x = at::embedding(weights.at(embedding_name(c)), tokens);
  if (c.embedding_scale != 1) x = x * c.embedding_scale;
  if (c.positions != PositionKind::learned) return x;
  return x +
         at::embedding(weights.at(std::string(n.trunk) + n.positions + ".weight"), view.positions);
}

Rotation rotation_of(const ModelConfig& c, const AttentionView& view) {
  if (c.positions != PositionKind::rotary) return {};
  return rotation_at(view.positions, view.frequencies.defined()
                                         ? view.frequencies
                                         : frequencies_on(c, view.positions.device()));
}

at::Tensor through_block(const ModelConfig& c, const WeightMap& weights, std::int64_t index,
                         at::Tensor x, const AttentionView& view, const Rotation& rotation,
                         TensorCache* cache) {
  const Block block(c, weights, index);
  const BlockNames& names = block.names();
  at::Tensor more =
      attention(c, block, block.norm(names.input_norm, x), view, rotation, cache, index);
  x = x + (c.norms_after ? block.norm(names.attention_norm, more) : more);
  more = feed_forward(c, block, block.norm(names.middle_norm, x));
  return x + (c.norms_after ? block.norm(names.feed_forward_norm, more) : more);
}

at::Tensor last_normed(const ModelConfig& c, const WeightMap& weights, const at::Tensor& x) {
  const WeightNames& n = weight_names(c);
  return normed(c.norm, c.rms_epsilon, weights, std::string(n.trunk) + n.last_norm, x);
}

}  // namespace

at::Tensor network_hidden(const ModelConfig& c, const WeightMap& weights, const at::Tensor& tokens,
                          const AttentionView& view, TensorCache* cache) {
  const Rotation rotation = rotation_of(c, view);
  at::Tensor x = embedded(c, weights, tokens, view);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    x = through_block(c, weights, i, x, view, rotation, cache);
  }
  return last_normed(c, weights, x);
}

at::Tensor network_head(const ModelConfig& c, const WeightMap& weights, const at::Tensor& hidden) {
  const at::Tensor logits = linear(weights, head_module(c), false, hidden);
  return capped(is_narrow(logits.scalar_type()) ? logits.to(at::kFloat) : logits, c.logit_cap);
}

namespace {

struct PaddedTokens {
  at::Tensor tokens;  // [N,T] int64, right-padded with 0
  at::Tensor mask;    // [N,T] bool
};

/// Where sequences lie in rows of equal length, several in one row where they fit.
struct Packing {
  std::int64_t rows = 0, length = 1;
  std::vector<std::int64_t> row, first;  // of each sequence
};

/// The longest first, each into the first row with room for it (first-fit decreasing; Krell et al.
/// 2021, arXiv:2107.02027).
Packing packing_of(const std::vector<std::vector<std::int64_t>>& sequences) {
  Packing out;
  std::vector<std::size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return sequences[a].size() > sequences[b].size();
  });
  out.row.resize(sequences.size());
  out.first.resize(sequences.size());
  std::vector<std::int64_t> taken;
  for (const std::size_t i : order) {
    const auto size = static_cast<std::int64_t>(sequences[i].size());
    out.length = std::max(out.length, size);
    std::size_t row = 0;
    while (row < taken.size() && taken[row] + size > out.length) ++row;
    if (row == taken.size()) taken.push_back(0);
    out.row[i] = static_cast<std::int64_t>(row);
    out.first[i] = taken[row];
    taken[row] += size;
  }
  out.rows = static_cast<std::int64_t>(taken.size());
  return out;
}

/// Sequences in packed rows, each of which sees itself alone.
struct PackedTokens {
  at::Tensor tokens;  // [R,L] int64, 0 where no sequence lies
  AttentionView view;
  std::vector<std::int64_t> wanted;  // flat indices of the wanted positions
};

PackedTokens packed_tokens(const TokenSequences& sequences, const ModelConfig& config,
                           c10::Device device) {
  const Packing packing = packing_of(sequences.tokens);
  const std::vector<std::int64_t> shape{packing.rows, packing.length};
  PackedTokens out;
  out.tokens = at::zeros(shape, at::kLong);
  // Padding belongs to sequence -1 and sees nothing but padding.
  at::Tensor owner = at::full(shape, -1, at::kLong), position = at::zeros(shape, at::kLong);
  for (std::size_t i = 0; i < sequences.tokens.size(); ++i) {
    const std::int64_t start = packing.row[i] * packing.length + packing.first[i];
    const auto& row = sequences.tokens[i];
    std::copy(row.begin(), row.end(), out.tokens.data_ptr<std::int64_t>() + start);
    std::fill_n(owner.data_ptr<std::int64_t>() + start, row.size(), static_cast<std::int64_t>(i));
    std::iota(position.data_ptr<std::int64_t>() + start,
              position.data_ptr<std::int64_t>() + start + row.size(), std::int64_t{0});
    for (const std::int64_t at : sequences.wanted[i]) out.wanted.push_back(start + at);
  }
  out.tokens = out.tokens.to(device);
  owner = owner.to(device);
  const at::Tensor seen = owner.unsqueeze(2)
                              .eq(owner.unsqueeze(1))
                              .logical_and(visible(packing.length, config, device))
                              .unsqueeze(1);
  out.view.positions = position.to(device);
  const at::TensorOptions floats = at::TensorOptions().dtype(at::kFloat).device(device);
  out.view.bias = bias_of(seen, floats);
  if (config.sliding_window > 0) {
    out.view.windowed =
        bias_of(seen.logical_and(within_window(packing.length, config, device)), floats);
  }
  return out;
}

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

WeightMap leaves_of(const WeightMap& weights, const std::set<std::string>& trained) {
  WeightMap leaves;
  for (const auto& [name, weight] : weights) {
    leaves[name] = trained.contains(name) ? weight.detach().requires_grad_() : weight;
  }
  return leaves;
}

void add_leaf_gradients(const WeightMap& leaves, WeightMap& gradients) {
  for (auto& [name, gradient] : gradients) {
    const at::Tensor& leaf = leaves.at(name);
    if (leaf.requires_grad() && leaf.grad().defined()) gradient.add_(leaf.grad());
  }
}

class OperatorScoring final : public ScoringPass {
 public:
  OperatorScoring(const ModelConfig& config, const WeightMap& weights,
                  const TokenSequences& sequences, const std::set<std::string>& trained) {
    const c10::AutoGradMode mode(!trained.empty());
    leaves_ = leaves_of(weights, trained);
    const WeightMap computing = computing_weights(config, leaves_);
    const c10::Device device = weights.begin()->second.device();
    const PackedTokens rows = packed_tokens(sequences, config, device);
    const at::Tensor hidden = network_hidden(config, computing, rows.tokens, rows.view, nullptr);
    const at::Tensor chosen =
        hidden.reshape({-1, hidden.size(2)}).index_select(0, indices(rows.wanted, device));
    differentiable_ = network_head(config, computing, chosen);
    logits_ = differentiable_.detach();
  }

  void backward(const at::Tensor& d_logits, WeightMap& gradients) override {
    differentiable_.backward(d_logits);
    add_leaf_gradients(leaves_, gradients);
  }

 private:
  WeightMap leaves_;
  at::Tensor differentiable_;
};

/// Keeps the blocks' inputs alone; the backward pass runs each block again (Chen et al. 2016,
/// arXiv:1604.06174).
class RecomputingScoring final : public ScoringPass {
 public:
  RecomputingScoring(const ModelConfig& config, const WeightMap& weights,
                     const TokenSequences& sequences, const std::set<std::string>& trained)
      : config_(config), leaves_(leaves_of(weights, trained)) {
    const c10::NoGradGuard no_gradient;
    const c10::Device device = weights.begin()->second.device();
    PackedTokens rows = packed_tokens(sequences, config, device);
    tokens_ = rows.tokens;
    view_ = std::move(rows.view);
    rotation_ = rotation_of(config, view_);
    wanted_ = indices(rows.wanted, device);
    const WeightMap computing = computing_weights(config, leaves_);
    at::Tensor x = embedded(config, computing, tokens_, view_);
    for (std::int64_t i = 0; i < config.layers; ++i) {
      inputs_.push_back(x);
      x = through_block(config, computing, i, x, view_, rotation_, nullptr);
    }
    inputs_.push_back(x);
    logits_ = read(computing, x);
  }

  void backward(const at::Tensor& d_logits, WeightMap& gradients) override {
    const c10::AutoGradMode with_gradient(true);
    at::Tensor d = passed_back(inputs_.back(), d_logits, [&](const at::Tensor& x) {
      return read(computing_weights(config_, leaves_), x);
    });
    for (std::int64_t i = config_.layers - 1; i >= 0; --i) {
      d = passed_back(inputs_[static_cast<std::size_t>(i)], d, [&](const at::Tensor& x) {
        return through_block(config_, block_weights(i), i, x, view_, rotation_, nullptr);
      });
    }
    const at::Tensor start = embedded(config_, computing_weights(config_, leaves_), tokens_, view_);
    if (start.requires_grad()) start.backward(d);
    add_leaf_gradients(leaves_, gradients);
  }

 private:
  at::Tensor read(const WeightMap& weights, const at::Tensor& x) const {
    const at::Tensor hidden = last_normed(config_, weights, x);
    return network_head(config_, weights,
                        hidden.reshape({-1, hidden.size(2)}).index_select(0, wanted_));
  }
  /// d loss / d input of a part, given d loss / d output; the leaves get theirs.
  template <class Part>
  static at::Tensor passed_back(const at::Tensor& input, const at::Tensor& d, const Part& part) {
    const at::Tensor x = input.detach().requires_grad_();
    part(x).backward(d);
    return x.grad();
  }
  WeightMap block_weights(std::int64_t index) const {
    const std::string prefix = block_prefix(config_, index);
    WeightMap some;
    for (auto at = leaves_.lower_bound(prefix);
         at != leaves_.end() && at->first.starts_with(prefix); ++at) {
      some.insert(*at);
    }
    return computing_weights(config_, some);
  }

  const ModelConfig& config_;
  WeightMap leaves_;
  at::Tensor tokens_, wanted_;
  AttentionView view_;
  Rotation rotation_;
  std::vector<at::Tensor> inputs_;  ///< of each block, and what the last one gives
};

/// Of one token in each row at `positions` [R,1], which sees the first `keys` cached ones up to
/// itself.
AttentionView step_view(const ModelConfig& config, const at::Tensor& positions, std::int64_t keys) {
  AttentionView view;
  view.positions = positions;
  const at::Tensor key = at::arange(keys, positions.options());
  const at::Tensor ahead = key.view({1, 1, 1, -1}) - positions.view({-1, 1, 1, 1});
  const at::TensorOptions options = positions.options().dtype(at::kFloat);
  view.bias = bias_of(ahead <= 0, options);
  if (config.sliding_window > 0) {
    view.windowed = bias_of((ahead <= 0).logical_and(ahead > -config.sliding_window), options);
  }
  return view;
}

/// One step of all rows of a cache at fixed addresses, for positions below `keys`.
class FixedStep {
 public:
  FixedStep(const ModelConfig& config, const WeightMap& weights, TensorCache cache,
            std::int64_t keys)
      : config_(config), weights_(weights), cache_(std::move(cache)), keys_(keys) {
    const c10::Device device = cache_.keys[0].device();
    const at::TensorOptions whole = at::TensorOptions().dtype(at::kLong).device(device);
    tokens_ = at::zeros({cache_.keys[0].size(0), 1}, whole);
    positions_ = at::zeros_like(tokens_);
    if (config.positions == PositionKind::rotary) frequencies_ = frequencies_on(config, device);
  }
  FixedStep(const FixedStep&) = delete;  // recorded work knows where it stands
  FixedStep& operator=(const FixedStep&) = delete;
  std::int64_t keys() const { return keys_; }

  /// Logits [R, vocab_size], valid until the next step.
  const at::Tensor& take(const std::vector<std::int64_t>& tokens,
                         const std::vector<std::int64_t>& positions) {
    const c10::Device cpu(at::kCPU);
    tokens_.copy_(indices(tokens, cpu).unsqueeze(1));
    positions_.copy_(indices(positions, cpu).unsqueeze(1));
    if (work_) {
      work_->repeat();
    } else {
      work_ = record(tokens_.device(), [this] { run(); });
    }
    return logits_;
  }

 private:
  void run() {
    AttentionView view = step_view(config_, positions_, keys_);
    view.frequencies = frequencies_;
    const at::Tensor hidden = network_hidden(config_, weights_, tokens_, view, &cache_);
    const at::Tensor logits = network_head(config_, weights_, hidden.squeeze(1));
    if (!logits_.defined()) logits_ = at::empty_like(logits);
    logits_.copy_(logits);
  }

  const ModelConfig& config_;
  const WeightMap& weights_;
  TensorCache cache_;
  std::int64_t keys_;
  at::Tensor tokens_, positions_, frequencies_, logits_;
  std::unique_ptr<RecordedWork> work_;
};

class OperatorSession final : public DecodingSession {
 public:
  OperatorSession(const ModelConfig& config, const WeightMap& weights, std::int64_t slots,
                  std::int64_t capacity, bool recorded)
      : config_(config),
        device_(weights.begin()->second.device()),
        capacity_(capacity),
        recorded_(recorded),
        lengths_(slots, 0),
        row_of_slot_(slots, -1) {
    const c10::NoGradGuard no_gradient;
    weights_ = computing_weights(config, weights);
  }

  at::Tensor advance(const std::vector<SlotStart>& starts, const std::vector<std::int64_t>& slots,
                     const std::vector<std::int64_t>& tokens) override {
    const c10::NoGradGuard no_gradient;
    if (slots.empty()) return begin(starts, slots);
    check_sequence(config_, tokens, static_cast<std::int64_t>(tokens.size()), 0);
    if (4 * (slots.size() + starts.size()) < 3 * static_cast<std::size_t>(rows())) compact(slots);
    const at::Tensor stepped = append(slots, tokens);
    return starts.empty() ? stepped : at::cat({begin(starts, slots), stepped});
  }

 private:
  std::int64_t rows() const { return cache_.keys.empty() ? 0 : cache_.keys[0].size(0); }

  at::Tensor append(const std::vector<std::int64_t>& slots,
                    const std::vector<std::int64_t>& tokens) {
    // Rows of slots that have ended write to the last place, which no other token reads.
    std::vector<std::int64_t> token_of_row(rows(), 0), position_of_row(rows(), capacity_ - 1),
        row_list;
    std::int64_t longest = 0;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const std::int64_t row = row_of_slot_[slots[i]];
      token_of_row[row] = tokens[i];
      if (lengths_[slots[i]] >= capacity_) refuse_full_slot(capacity_);
      position_of_row[row] = lengths_[slots[i]]++;
      longest = std::max(longest, position_of_row[row]);
      row_list.push_back(row);
    }
    const at::Tensor which = indices(row_list, device_);
    if (recorded_) {
      return fixed_step(longest + 1).take(token_of_row, position_of_row).index_select(0, which);
    }
    const at::Tensor positions = indices(position_of_row, device_).unsqueeze(1);
    const at::Tensor hidden =
        network_hidden(config_, weights_, indices(token_of_row, device_).unsqueeze(1),
                       step_view(config_, positions, longest + 1), &cache_);
    return network_head(config_, weights_, hidden.squeeze(1).index_select(0, which));
  }

  /// One that sees at least the first `keys` cached tokens: it is made anew for other rows, and
  /// for each 128 tokens.
  FixedStep& fixed_step(std::int64_t keys) {
    constexpr std::int64_t stride = 128;
    const std::int64_t rounded = std::min(capacity_, (keys + stride - 1) / stride * stride);
    if (!step_ || step_->keys() != rounded) {
      step_ = std::make_unique<FixedStep>(config_, weights_, cache_, rounded);
    }
    return *step_;
  }

  /// Prompts that have been read, a row of a cache for each.
  struct Prefilled {
    TensorCache cache;
    at::Tensor logits;
  };

  /// Begins these slots; those of `going_on` keep their rows.
  at::Tensor begin(const std::vector<SlotStart>& starts,
                   const std::vector<std::int64_t>& going_on) {
    std::vector<std::vector<std::int64_t>> fresh;
    std::vector<std::int64_t> source;  // of each start; -1: the prompt that is kept
    std::map<const std::vector<std::int64_t>*, std::int64_t> done;
    for (const SlotStart& start : starts) {
      lengths_[start.slot] = static_cast<std::int64_t>(start.prompt->size());
      if (kept_.logits.defined() && *start.prompt == kept_prompt_) {
        source.push_back(-1);
        continue;
      }
      const auto [found, first] =
          done.try_emplace(start.prompt, static_cast<std::int64_t>(fresh.size()));
      if (first) fresh.push_back(*start.prompt);
      source.push_back(found->second);
    }
    Prefilled all = fresh.empty() ? kept_ : prefilled(fresh);
    const bool uses_kept = std::find(source.begin(), source.end(), -1) != source.end();
    if (uses_kept && !fresh.empty()) all = joined(all, kept_);
    for (std::int64_t& row : source) {
      if (row < 0) row = static_cast<std::int64_t>(fresh.size());
    }
    const Prefilled begun = selected(all, indices(source, device_));
    kept_ = selected(all, indices({source.back()}, device_));
    kept_prompt_ = *starts.back().prompt;
    place(starts, going_on, begun.cache);
    return begun.logits;
  }

  Prefilled prefilled(const std::vector<std::vector<std::int64_t>>& prompts) const {
    check_tokens(config_, prompts, capacity_);
    const PaddedTokens rows = padded(prompts);
    Prefilled out{empty_cache(rows.tokens.size(0)), {}};
    const at::Tensor hidden = network_hidden(config_, weights_, rows.tokens.to(device_),
                                             right_padded_view(rows.mask.to(device_)), &out.cache);
    const at::Tensor last = (rows.mask.sum(1) - 1).to(device_);
    const at::Tensor chosen =
        hidden.gather(1, last.view({-1, 1, 1}).expand({-1, 1, hidden.size(2)})).squeeze(1);
    out.logits = network_head(config_, weights_, chosen);
    return out;
  }

  static Prefilled joined(const Prefilled& a, const Prefilled& b) {
    Prefilled out{{}, at::cat({a.logits, b.logits})};
    for (std::size_t i = 0; i < a.cache.keys.size(); ++i) {
      out.cache.keys.push_back(at::cat({a.cache.keys[i], b.cache.keys[i]}));
      out.cache.values.push_back(at::cat({a.cache.values[i], b.cache.values[i]}));
    }
    return out;
  }

  static Prefilled selected(const Prefilled& from, const at::Tensor& rows) {
    return {selected(from.cache, rows), from.logits.index_select(0, rows)};
  }
  static TensorCache selected(const TensorCache& from, const at::Tensor& rows) {
    TensorCache out;
    for (const at::Tensor& keys : from.keys) out.keys.push_back(keys.index_select(0, rows));
    for (const at::Tensor& values : from.values) {
      out.values.push_back(values.index_select(0, rows));
    }
    return out;
  }

  /// Puts a row for each start where no slot of `going_on` has its own, or behind them.
  void place(const std::vector<SlotStart>& starts, const std::vector<std::int64_t>& going_on,
             const TensorCache& begun) {
    std::vector<bool> taken(rows(), false);
    for (const std::int64_t slot : going_on) taken[row_of_slot_[slot]] = true;
    std::vector<std::int64_t> places;
    for (std::int64_t row = 0; places.size() < starts.size(); ++row) {
      if (row < rows() && taken[row]) continue;
      row_of_slot_[starts[places.size()].slot] = row;
      places.push_back(row);
    }
    if (going_on.empty()) return replace_cache(begun);
    const at::Tensor where = indices(places, device_);
    const std::int64_t more = std::max<std::int64_t>(0, places.back() + 1 - rows());
    if (more > 0) step_.reset();
    const TensorCache space = empty_cache(more);
    for (std::size_t i = 0; i < cache_.keys.size(); ++i) {
      for (const auto& [cached, added, rows_begun] :
           {std::tie(cache_.keys[i], space.keys[i], begun.keys[i]),
            std::tie(cache_.values[i], space.values[i], begun.values[i])}) {
        if (more > 0) cached = at::cat({cached, added});
        cached.index_copy_(0, where, rows_begun);
      }
    }
  }

  TensorCache empty_cache(std::int64_t rows) const {
    const std::vector<std::int64_t> shape{rows, config_.key_value_heads, capacity_,
                                          config_.head_size};
    TensorCache cache;
    for (std::int64_t i = 0; i < config_.layers; ++i) {
      cache.keys.push_back(at::zeros(shape, weights_.begin()->second.options()));
      cache.values.push_back(at::zeros(shape, weights_.begin()->second.options()));
    }
    return cache;
  }

  /// Padding stands behind the tokens and keeps counting, so that it lands behind them in the
  /// cache.
  AttentionView right_padded_view(const at::Tensor& mask) const {
    AttentionView view = masked_view(mask, config_);
    view.positions = at::arange(mask.size(1), mask.options().dtype(at::kLong)).expand(mask.sizes());
    return view;
  }

  void compact(const std::vector<std::int64_t>& slots) {
    std::vector<std::int64_t> rows;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      rows.push_back(row_of_slot_[slots[i]]);
      row_of_slot_[slots[i]] = static_cast<std::int64_t>(i);
    }
    replace_cache(selected(cache_, indices(rows, device_)));
  }

  void replace_cache(TensorCache cache) {
    step_.reset();  // first: it holds the old one
    cache_ = std::move(cache);
  }

  const ModelConfig& config_;
  WeightMap weights_;
  c10::Device device_;
  std::int64_t capacity_;
  bool recorded_;
  std::unique_ptr<FixedStep> step_;  ///< of this cache; null: none was needed yet
  TensorCache cache_;
  std::vector<std::int64_t> lengths_;
  std::vector<std::int64_t> row_of_slot_;
  // The prompt that began last.
  std::vector<std::int64_t> kept_prompt_;
  Prefilled kept_;
};

}  // namespace

std::unique_ptr<ScoringPass> score_with_operators(const ModelConfig& config,
                                                  const WeightMap& weights,
                                                  const TokenSequences& sequences,
                                                  const std::set<std::string>& trained) {
  if (config.recomputes_layers && !trained.empty()) {
    return std::make_unique<RecomputingScoring>(config, weights, sequences, trained);
  }
  return std::make_unique<OperatorScoring>(config, weights, sequences, trained);
}

std::unique_ptr<DecodingSession> decode_with_operators(const ModelConfig& config,
                                                       const WeightMap& weights, std::int64_t slots,
                                                       std::int64_t capacity, bool recorded) {
  return std::make_unique<OperatorSession>(config, weights, slots, capacity, recorded);
}

}  // namespace rewardloom
