// The state behind a Policy, Reference, ValueModel or RewardModel handle: a decoder with its
// tokenizer.
#pragma once
#include <memory>
#include <optional>
#include <string>

#include "engine/core/port_types.h"
#include "engine/core/token_texts.h"
#include "nodes/text/decoder.h"
#include "nodes/text/lora.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// Checkpoints hold the weights; config and tokenizer come from where the model was made.
class LanguageModel final : public HandleState, public TellsTokens {
 public:
  /// `folder` is where the model was read from; may be empty.
  LanguageModel(Decoder decoder, std::shared_ptr<const Tokenizer> tokenizer,
                std::string folder = {})
      : decoder_(std::move(decoder)),
        tokenizer_(std::move(tokenizer)),
        folder_(std::move(folder)) {}
  static std::string kind_name() { return "language model"; }
  std::string kind() const override { return kind_name(); }
  void save(Package& out) const override;
  void load(const Package& in) override;

  const Decoder& decoder() const { return decoder_; }
  Decoder& decoder() { return decoder_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const std::string& folder() const { return folder_; }
  /// Models may have more tokens than their tokenizer: those have no text.
  TokenText token_text() const override {
    return [tokenizer = tokenizer_](std::int64_t id) {
      return id < 0 || id >= tokenizer->size() ? std::string() : tokenizer->token_text(id);
    };
  }
  /// The weights and the tokenizer of this model in a model of its own, with the same version.
  std::shared_ptr<LanguageModel> copy() const;
  /// As copy, under a new score head, with weight version 0.
  std::shared_ptr<LanguageModel> with_score_head(HeadKind kind, std::int64_t labels,
                                                 const NewHead& head) const;
  /// The token that fills rows up, and those that end an answer.
  std::int64_t padding_token() const;
  std::vector<std::int64_t> end_tokens() const;

 private:
  Decoder decoder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string folder_;
};

/// A score head that a model should have. One that the folder holds is taken as it is.
struct ScoreHead {
  HeadKind kind = HeadKind::sequence;
  std::int64_t labels = 1;
  bool zeros = false;  ///< a new head starts at zero, else drawn from initializer_range
};

/// Where a model's numbers come from.
struct ModelSource {
  std::string folder;      ///< a Hugging Face folder; may be empty where `config` says all
  bool random = false;     ///< weights drawn anew instead of read
  std::uint64_t seed = 0;  ///< of those
  Json config;             ///< entries that replace those of config.json; null: none
  std::string characters;  ///< a character tokenizer over these instead of the folder's
  c10::Device device{c10::kCPU};
  std::optional<ScoreHead> head;    ///< none: a language model
  std::string adapter;              ///< a folder in PEFT's layout; empty: none
  std::optional<LoraTargets> lora;  ///< new adapters
  ComputeType compute = ComputeType::float32;
  bool recomputes_layers = false;  ///< in backward passes
};
/// Failure `model-tokenizer` where the tokenizer has more tokens than the model, `model-head` where
/// the folder's head is another than the one wanted, `model-config`, `model-weights`, `lora`,
/// `tokenizer`.
std::shared_ptr<LanguageModel> make_language_model(const ModelSource& source);

}  // namespace rewardloom
