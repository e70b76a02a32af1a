// A decoder-only language model: weights, log-probabilities with gradients, and decoding with a
// cache.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "nodes/text/model_config.h"
#include "nodes/text/model_weights.h"
#include "nodes/text/parallel_calls.h"

namespace rewardloom {

class CpuNetwork;
struct RotaryTable;
class ActivationPool;

/// Sequences without padding, and the positions whose next-token logits are wanted.
struct TokenSequences {
  std::vector<std::vector<std::int64_t>> tokens;
  std::vector<std::vector<std::int64_t>> wanted;  ///< rising positions of each sequence
  std::int64_t wanted_count() const;
};

/// A forward pass over whole sequences; `logits` [wanted, outputs] (a language model's next-token
/// logits, or a score head's scores) come in the order of the sequences and carry no gradient of
/// their own.
class ScoringPass {
 public:
  virtual ~ScoringPass() = default;
  const at::Tensor& logits() const { return logits_; }
  /// Adds d loss / d weight to `gradients` (see Decoder::zero_gradients) under the names that it
  /// holds, given d loss / d logits.
  /// To be called at most once, and only after a pass that was asked for gradients.
  virtual void backward(const at::Tensor& d_logits, WeightMap& gradients) = 0;

 protected:
  at::Tensor logits_;
};

/// A slot of a decoding session that begins anew with a prompt.
struct SlotStart {
  std::int64_t slot = 0;
  const std::vector<std::int64_t>* prompt = nullptr;
};

/// Decoding of several sequences token by token, each in a slot, keys and values kept.
class DecodingSession {
 public:
  virtual ~DecodingSession() = default;
  /// Begins slots anew, and appends tokens[i] to slot slots[i]. Returns the next-token logits
  /// [starts.size() + slots.size(), vocab_size], those of the starts first. A slot in neither list
  /// has ended: it may only begin anew. A prompt is computed once for all its starts in one call,
  /// and in the calls behind it until one with another prompt. Failure as Decoder::score, and
  /// `context-length` for a prompt longer than the session's capacity or a slot that is full.
  virtual at::Tensor advance(const std::vector<SlotStart>& starts,
                             const std::vector<std::int64_t>& slots,
                             const std::vector<std::int64_t>& tokens) = 0;
  /// Slot i begins with prompts[prompt_of_slot[i]].
  at::Tensor prefill(const std::vector<std::vector<std::int64_t>>& prompts,
                     const std::vector<std::int64_t>& prompt_of_slot);
  at::Tensor step(const std::vector<std::int64_t>& slots, const std::vector<std::int64_t>& tokens) {
    return advance({}, slots, tokens);
  }
};

/// Of one sequence, which messages call `name`.
void check_sequence(const ModelConfig& config, const std::vector<std::int64_t>& tokens,
                    std::int64_t most, std::int64_t name);
/// Failure `empty-sequence`, `context-length` for more than `most` tokens, or `token-range` for a
/// token that is not in the vocabulary.
void check_tokens(const ModelConfig& config,
                  const std::vector<std::vector<std::int64_t>>& sequences, std::int64_t most);
/// Failure `context-length`: a sequence would grow beyond what its session holds.
[[noreturn]] void refuse_full_slot(std::int64_t capacity);

/// What an optimizer changes: every weight (with adapters: these and a score head), or the head.
enum class TrainedPart { all, head };

/// On the CPU the passes run in this project's own kernels: what a sequence gets depends bit by bit
/// on that sequence alone, so that sampling and training agree exactly. On any other
/// device, and for networks that the kernels do not cover (ModelConfig::has_own_kernels), they run
/// in LibTorch's operators. Const members may be called from several threads.
class Decoder {
 public:
  /// Failure `model-weights` where they do not fit.
  Decoder(ModelConfig config, WeightMap weights);
  static Decoder load(const std::filesystem::path& folder);
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;
  ~Decoder();

  const ModelConfig& config() const { return config_; }
  /// Trunk, head and adapters in one list; the tensors are shared.
  const WeightMap& weights() const { return weights_; }
  c10::Device device() const;
  /// A deep copy.
  Decoder copy() const;
  void to(c10::Device device);
  /// New values of the same shapes, copied into the weights in place.
  void assign(const WeightMap& weights);
  /// To be called after the weights' values were changed in place.
  void weights_changed();

  /// Logits [N,T,outputs] in LibTorch's operators, differentiable with respect to `weights` (under
  /// the names of weights()). tokens [N,T] int64; mask [N,T] bool is false on padding, left or
  /// right; undefined means none. Logits at padding mean nothing.
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& mask,
                     const WeightMap& weights) const;
  /// As forward, before the head: the normalised hidden states [N,T,D].
  at::Tensor hidden(const at::Tensor& tokens, const at::Tensor& mask,
                    const WeightMap& weights) const;

  /// Failure `context-length` for a sequence longer than the model's positions, `token-range` for a
  /// token that is not in its vocabulary.
  std::unique_ptr<ScoringPass> score(const TokenSequences& sequences, bool with_gradient) const;
  /// `capacity` tokens per sequence, prompt included. `parallel`, which must outlive the session,
  /// shares the passes among threads where they run in this project's kernels; null: the caller's
  /// thread does all. `recorded`: where LibTorch's operators run, steps are recorded as
  /// decode_with_operators does. Failure `model-head` where the head scores.
  std::unique_ptr<DecodingSession> decode(std::int64_t slots, std::int64_t capacity,
                                          const ParallelCalls* parallel = nullptr,
                                          bool recorded = false) const;
  /// Whether passes over this model's sequences run in this project's own kernels.
  bool has_own_kernels() const;
  /// Zeros under the names of the weights that are trained.
  WeightMap zero_gradients() const;
  /// Failure `frozen-head` for the head of a language model that is tied to the embedding.
  void train(TrainedPart part);
  TrainedPart trained_part() const { return part_; }
  /// The names of the weights that are trained.
  std::set<std::string> trained_names() const;

  /// This trunk, copied, under a new score head of `labels` outputs.
  Decoder with_score_head(HeadKind kind, std::int64_t labels, const NewHead& head) const;
  /// A copy with the adapters added into the weights.
  Decoder merged() const;

 private:
  bool is_head(const std::string& name) const;
  std::shared_ptr<const CpuNetwork> network(bool with_gradient) const;

  ModelConfig config_;
  WeightMap weights_;
  TrainedPart part_ = TrainedPart::all;
  mutable std::unique_ptr<std::mutex> mutex_;
  mutable std::shared_ptr<const CpuNetwork> network_;
  mutable std::shared_ptr<const RotaryTable> rotary_;
  std::shared_ptr<ActivationPool> pool_;
};

}  // namespace rewardloom
