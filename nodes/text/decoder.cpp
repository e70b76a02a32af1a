#include "nodes/text/decoder.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/core/problem.h"
#include "nodes/text/aten_network.h"
#include "nodes/text/cpu_network.h"
#include "nodes/text/lora.h"

namespace rewardloom {

/// Memory of passes between their uses.
class ActivationPool {
 public:
  std::unique_ptr<Activations> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Activations>();
    std::unique_ptr<Activations> last = std::move(free_.back());
    free_.pop_back();
    return last;
  }
  void give(std::unique_ptr<Activations> activations) {
    const std::lock_guard lock(mutex_);
    if (free_.size() < most) free_.push_back(std::move(activations));
  }

 private:
  static constexpr std::size_t most = 16;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Activations>> free_;
};

namespace {

class Borrowed {
 public:
  explicit Borrowed(std::shared_ptr<ActivationPool> pool)
      : pool_(std::move(pool)), activations_(pool_->take()) {}
  ~Borrowed() { pool_->give(std::move(activations_)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
  Activations& operator*() { return *activations_; }

 private:
  std::shared_ptr<ActivationPool> pool_;
  std::unique_ptr<Activations> activations_;
};

class KernelScoring final : public ScoringPass {
 public:
  KernelScoring(const ModelConfig& config, std::shared_ptr<const CpuNetwork> network,
                std::shared_ptr<ActivationPool> pool, const TokenSequences& sequences, Kept kept)
      : network_(std::move(network)), memory_(std::move(pool)), kept_(kept) {
    std::int64_t longest = 1;
    for (std::size_t i = 0; i < sequences.tokens.size(); ++i) {
      const auto& row = sequences.tokens[i];
      for (const std::int64_t at : sequences.wanted[i]) selected_.push_back(tokens_.size() + at);
      for (std::size_t t = 0; t < row.size(); ++t) tokens_.add(row[t], t, i);
      lengths_.push_back(static_cast<std::int64_t>(row.size()));
      longest = std::max(longest, lengths_.back());
    }
    KeyValueCache cache(config, 1, static_cast<std::int64_t>(lengths_.size()), longest);
    logits_ = at::empty({static_cast<std::int64_t>(selected_.size()), config.outputs()});
    network_->forward(tokens_, cache, selected_, *memory_, kept_, logits_.data_ptr<float>());
  }

  void backward(const at::Tensor& d_logits, WeightMap& gradients) override {
    const at::Tensor d = d_logits.to(at::kFloat).contiguous();
    network_->backward(tokens_, lengths_, selected_, *memory_, kept_, d.data_ptr<float>(),
                       gradients);
  }

 private:
  std::shared_ptr<const CpuNetwork> network_;
  Borrowed memory_;
  Kept kept_;
  FlatTokens tokens_;
  std::vector<std::int64_t> lengths_, selected_;
};

/// A pass whose network holds the adapters merged into the weights.
class AdaptedScoring final : public ScoringPass {
 public:
  AdaptedScoring(std::unique_ptr<ScoringPass> merged, const ModelConfig& config,
                 const WeightMap& weights)
      : merged_(std::move(merged)), config_(config), weights_(weights) {
    logits_ = merged_->logits();
  }

  void backward(const at::Tensor& d_logits, WeightMap& gradients) override {
    WeightMap through = gradients;
    for (const std::string& module : config_.lora->modules) {
      const std::string name = module + ".weight";
      if (gradients.contains(module + ".lora_A.weight")) {
        through[name] = at::zeros_like(weights_.at(name));
      }
    }
    merged_->backward(d_logits, through);
    adapter_gradients(config_, weights_, through, gradients);
  }

 private:
  std::unique_ptr<ScoringPass> merged_;
  const ModelConfig& config_;
  WeightMap weights_;
};

class KernelSession final : public DecodingSession {
 public:
  KernelSession(const ModelConfig& config, std::shared_ptr<const CpuNetwork> network,
                std::shared_ptr<ActivationPool> pool, std::int64_t slots, std::int64_t capacity,
                const ParallelCalls* parallel)
      : config_(config),
        capacity_(capacity),
        network_(std::move(network)),
        memory_(std::move(pool)),
        cache_(config, config.layers, slots, capacity),
        lengths_(slots, 0),
        parallel_(parallel) {}

  at::Tensor advance(const std::vector<SlotStart>& starts, const std::vector<std::int64_t>& slots,
                     const std::vector<std::int64_t>& tokens) override {
    FlatTokens flat;
    std::vector<std::int64_t> read;  // the tokens whose logits are wanted
    const Beginning beginning = begin(starts, flat, read);
    if (!tokens.empty())
      check_sequence(config_, tokens, static_cast<std::int64_t>(tokens.size()), 0);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (lengths_[slots[i]] >= capacity_) refuse_full_slot(capacity_);
      flat.add(tokens[i], lengths_[slots[i]]++, slots[i]);
      read.push_back(flat.size() - 1);
    }
    at::Tensor logits = at::empty({static_cast<std::int64_t>(read.size()), config_.vocab_size});
    if (!read.empty()) {
      network_->forward(flat, cache_, read, *memory_, Kept::nothing, logits.data_ptr<float>(),
                        parallel_);
    }
    return starts.empty() ? logits : finish(starts, beginning, logits, slots.size());
  }

 private:
  /// What becomes of the starts of a call.
  struct Beginning {
    std::vector<std::int64_t> row;     ///< of each: of this pass's logits, -1: those that are kept
    std::vector<std::int64_t> source;  ///< of each: the slot that computes its prompt in this pass
    std::int64_t computed = 0;
  };

  Beginning begin(const std::vector<SlotStart>& starts, FlatTokens& flat,
                  std::vector<std::int64_t>& read) {
    Beginning out;
    std::vector<bool> kept;
    // What is kept is copied before the pass writes over it.
    for (const SlotStart& start : starts) {
      kept.push_back(kept_logits_.defined() && *start.prompt == kept_prompt_);
      if (kept.back()) copy_prompt(kept_slot_, start);
    }
    std::map<const std::vector<std::int64_t>*, std::pair<std::int64_t, std::int64_t>> done;
    for (std::size_t i = 0; i < starts.size(); ++i) {
      const SlotStart& start = starts[i];
      lengths_[start.slot] = static_cast<std::int64_t>(start.prompt->size());
      const auto [found, fresh] = done.try_emplace(start.prompt, start.slot, out.computed);
      out.source.push_back(kept[i] ? start.slot : found->second.first);
      out.row.push_back(kept[i] ? -1 : found->second.second);
      if (kept[i] || !fresh) continue;
      check_sequence(config_, *start.prompt, capacity_, static_cast<std::int64_t>(i));
      for (std::size_t t = 0; t < start.prompt->size(); ++t) {
        flat.add((*start.prompt)[t], static_cast<std::int64_t>(t), start.slot);
      }
      read.push_back(flat.size() - 1);
      ++out.computed;
    }
    return out;
  }

  /// Logits of all starts and of `stepped` other slots, from those of the pass.
  at::Tensor finish(const std::vector<SlotStart>& starts, const Beginning& beginning,
                    const at::Tensor& logits, std::size_t stepped) {
    std::vector<std::int64_t> rows = beginning.row;
    for (std::int64_t& row : rows) row = row < 0 ? logits.size(0) : row;
    for (std::size_t i = 0; i < stepped; ++i) {
      rows.push_back(beginning.computed + static_cast<std::int64_t>(i));
    }
    for (std::size_t i = 0; i < starts.size(); ++i) copy_prompt(beginning.source[i], starts[i]);
    const at::Tensor all = kept_logits_.defined() ? at::cat({logits, kept_logits_}) : logits;
    const at::Tensor out =
        all.index_select(0, at::tensor(rows, at::TensorOptions().dtype(at::kLong)));
    kept_prompt_ = *starts.back().prompt;
    kept_slot_ = starts.back().slot;
    kept_logits_ = out.narrow(0, static_cast<std::int64_t>(starts.size()) - 1, 1).clone();
    return out;
  }

  void copy_prompt(std::int64_t from, const SlotStart& start) {
    if (from == start.slot) return;
    cache_.copy_slot(from, start.slot, static_cast<std::int64_t>(start.prompt->size()));
  }

  const ModelConfig& config_;
  std::int64_t capacity_;
  std::shared_ptr<const CpuNetwork> network_;
  Borrowed memory_;
  KeyValueCache cache_;
  std::vector<std::int64_t> lengths_;
  const ParallelCalls* parallel_;
  // The prompt that began last: it stands at the beginning of its slot, whatever follows there.
  std::vector<std::int64_t> kept_prompt_;
  std::int64_t kept_slot_ = 0;
  at::Tensor kept_logits_;  // [1, vocab_size]; undefined: there is none
};

}  // namespace

at::Tensor DecodingSession::prefill(const std::vector<std::vector<std::int64_t>>& prompts,
                                    const std::vector<std::int64_t>& prompt_of_slot) {
  std::vector<SlotStart> starts;
  for (std::size_t slot = 0; slot < prompt_of_slot.size(); ++slot) {
    starts.push_back({static_cast<std::int64_t>(slot), &prompts[prompt_of_slot[slot]]});
  }
  return advance(starts, {}, {});
}

std::int64_t TokenSequences::wanted_count() const {
  std::int64_t count = 0;
  for (const auto& list : wanted) count += static_cast<std::int64_t>(list.size());
  return count;
}

Decoder::Decoder(ModelConfig config, WeightMap weights)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      mutex_(std::make_unique<std::mutex>()),
      pool_(std::make_shared<ActivationPool>()) {
  check_weights(config_, weights_);
}

Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

Decoder Decoder::load(const std::filesystem::path& folder) {
  ModelConfig config = read_model_config(folder);
  WeightMap weights = load_weights(folder, config);
  return Decoder(std::move(config), std::move(weights));
}

c10::Device Decoder::device() const { return weights_.begin()->second.device(); }

Decoder Decoder::copy() const {
  WeightMap weights;
  for (const auto& [name, tensor] : weights_) weights[name] = tensor.detach().clone();
  Decoder twin(config_, std::move(weights));
  twin.part_ = part_;
  return twin;
}

Decoder Decoder::with_score_head(HeadKind kind, std::int64_t labels, const NewHead& head) const {
  ModelConfig config = rewardloom::with_score_head(config_, kind, labels);
  WeightMap weights = head_weights(config, head);
  for (auto& [name, tensor] : weights) tensor = tensor.to(device());
  for (const auto& list : {weight_shapes(config), adapter_shapes(config)}) {
    for (const WeightShape& shape : list) {
      if (weights.contains(shape.name)) continue;
      weights[shape.name] = weights_.at(shape.name).detach().clone();
    }
  }
  return Decoder(std::move(config), std::move(weights));
}

Decoder Decoder::merged() const {
  ModelConfig config = config_;
  config.lora.reset();
  WeightMap weights;
  for (const auto& [name, tensor] : merged_weights(config_, weights_)) {
    weights[name] = tensor.detach().clone();
  }
  return Decoder(std::move(config), std::move(weights));
}

void Decoder::to(c10::Device device) {
  for (auto& [name, tensor] : weights_) tensor = tensor.to(device);
  weights_changed();
}

void Decoder::assign(const WeightMap& weights) {
  check_weights(config_, weights);
  const c10::NoGradGuard no_gradient;
  for (auto& [name, tensor] : weights_) tensor.copy_(weights.at(name));
  weights_changed();
}

void Decoder::weights_changed() {
  const std::lock_guard lock(*mutex_);
  network_.reset();
}

WeightMap Decoder::zero_gradients() const {
  WeightMap gradients;
  for (const std::string& name : trained_names()) {
    gradients[name] = at::zeros_like(weights_.at(name));
  }
  return gradients;
}

bool Decoder::is_head(const std::string& name) const {
  return name.starts_with(head_module(config_) + ".");
}

void Decoder::train(TrainedPart part) {
  if (part == TrainedPart::head && config_.head == HeadKind::language_model &&
      config_.tied_embeddings) {
    throw Failure("frozen-head", "the head is tied to the embedding and cannot be trained alone",
                  "train all weights, or use a model with a head of its own");
  }
  part_ = part;
}

std::set<std::string> Decoder::trained_names() const {
  const bool all = part_ == TrainedPart::all;
  std::set<std::string> names;
  if (all && config_.lora) {
    for (const WeightShape& shape : adapter_shapes(config_)) names.insert(shape.name);
  }
  const bool everything = all && !config_.lora;
  const bool head = part_ == TrainedPart::head || config_.head != HeadKind::language_model;
  for (const auto& [name, tensor] : weights_) {
    if (everything || (head && is_head(name))) names.insert(name);
  }
  return names;
}

bool Decoder::has_own_kernels() const {
  const at::Tensor& any = weights_.begin()->second;
  return config_.has_own_kernels() && any.device().is_cpu() && any.scalar_type() == at::kFloat;
}

std::shared_ptr<const CpuNetwork> Decoder::network(bool with_gradient) const {
  const std::lock_guard lock(*mutex_);
  if (!network_ || (with_gradient && !network_->with_gradient())) {
    if (!rotary_) {
      rotary_ = std::make_shared<const RotaryTable>(
          rotary_table(rotary_frequencies(config_), config_.max_positions));
    }
    network_ = std::make_shared<const CpuNetwork>(config_, merged_weights(config_, weights_),
                                                  rotary_, with_gradient);
  }
  return network_;
}

void check_sequence(const ModelConfig& config, const std::vector<std::int64_t>& tokens,
                    std::int64_t most, std::int64_t name) {
  if (tokens.empty()) {
    throw Failure("empty-sequence", fmt::format("sequence {} has no token", name),
                  "start prompts with a token, e.g. the tokenizer's begin token");
  }
  if (static_cast<std::int64_t>(tokens.size()) > most) {
    throw Failure(
        "context-length",
        fmt::format("sequence {} has {} tokens, there is room for {}", name, tokens.size(), most),
        "shorten the prompts or max_tokens, or use a model with more positions");
  }
  for (const std::int64_t token : tokens) {
    if (token >= 0 && token < config.vocab_size) continue;
    throw Failure("token-range",
                  fmt::format("token {} of sequence {} is not below the vocabulary size {}", token,
                              name, config.vocab_size),
                  "model and tokenizer must belong together");
  }
}

void check_tokens(const ModelConfig& config,
                  const std::vector<std::vector<std::int64_t>>& sequences, std::int64_t most) {
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    check_sequence(config, sequences[i], most, static_cast<std::int64_t>(i));
  }
}

void refuse_full_slot(std::int64_t capacity) {
  throw Failure(
      "context-length",
      fmt::format("a sequence has reached the {} tokens that its session holds", capacity),
      "open the session with a larger capacity");
}

at::Tensor Decoder::hidden(const at::Tensor& tokens, const at::Tensor& mask,
                           const WeightMap& weights) const {
  const at::Tensor all =
      mask.defined() ? mask : at::ones(tokens.sizes(), tokens.options().dtype(at::kBool));
  return network_hidden(config_, weights, tokens, masked_view(all, config_), nullptr);
}

at::Tensor Decoder::forward(const at::Tensor& tokens, const at::Tensor& mask,
                            const WeightMap& weights) const {
  return network_head(config_, weights, hidden(tokens, mask, weights));
}

std::unique_ptr<ScoringPass> Decoder::score(const TokenSequences& sequences,
                                            bool with_gradient) const {
  check_tokens(config_, sequences.tokens, config_.max_positions);
  if (!has_own_kernels()) {
    return score_with_operators(config_, weights_, sequences,
                                with_gradient ? trained_names() : std::set<std::string>{});
  }
  const Kept kept = !with_gradient              ? Kept::nothing
                    : config_.recomputes_layers ? Kept::inputs
                                                : Kept::everything;
  auto pass =
      std::make_unique<KernelScoring>(config_, network(with_gradient), pool_, sequences, kept);
  if (!config_.lora || !with_gradient) return pass;
  return std::make_unique<AdaptedScoring>(std::move(pass), config_, weights_);
}

std::unique_ptr<DecodingSession> Decoder::decode(std::int64_t slots, std::int64_t capacity,
                                                 const ParallelCalls* parallel,
                                                 bool recorded) const {
  if (config_.head != HeadKind::language_model) {
    throw Failure("model-head",
                  fmt::format("{} has a score head and cannot write", config_.architecture),
                  "sample with a language model");
  }
  if (config_.bidirectional) {
    throw Failure("model-head",
                  fmt::format("{} attends to both sides and cannot write", config_.architecture),
                  "set use_bidirectional_attention to false for a model that samples");
  }
  if (capacity > config_.max_positions) {
    throw Failure("context-length",
                  fmt::format("prompt and answer may reach {} tokens, the model has {} positions",
                              capacity, config_.max_positions),
                  "shorten the prompts or max_tokens");
  }
  if (has_own_kernels()) {
    return std::make_unique<KernelSession>(config_, network(false), pool_, slots, capacity,
                                           parallel);
  }
  return decode_with_operators(config_, weights_, slots, capacity, recorded);
}

}  // namespace rewardloom
