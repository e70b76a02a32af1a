// The state behind an Encoder handle: texts to vectors, with the conventions of
// sentence-transformers (Reimers and Gurevych 2019, arXiv:1908.10084).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/port_types.h"
#include "nodes/text/encoder_network.h"
#include "nodes/text/row_scores.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

/// What becomes of the hidden states of a text's tokens, those that the tokenizer puts around
/// the text included.
enum class Pooling { mean, cls, max };
/// hidden [N,T,D], mask [N,T] bool -> [N,D]. Every row has a token.
at::Tensor pooled(const at::Tensor& hidden, const at::Tensor& mask, Pooling pooling);
/// Rows divided by their Euclidean norm (at least 1e-12).
at::Tensor unit_rows(const at::Tensor& rows);

struct EmbeddingOptions {
  Pooling pooling = Pooling::mean;
  bool normalise = false;
  std::int64_t max_tokens = 512;  ///< longer texts are cut, the end token stays
};
/// What a sentence-transformers folder says (modules.json, its pooling module,
/// sentence_bert_config.json); mean pooling without normalising where it says nothing. Failure
/// `encoder` for a module that is not supported.
EmbeddingOptions embedding_options(const std::filesystem::path& folder,
                                   const EncoderConfig& config);

class SentenceEncoder final : public HandleState {
 public:
  /// Failure `model-tokenizer` where the tokenizer has more tokens than the network.
  SentenceEncoder(EncoderConfig config, WeightMap weights,
                  std::shared_ptr<const Tokenizer> tokenizer, EmbeddingOptions options);
  static std::shared_ptr<SentenceEncoder> load(const std::filesystem::path& folder);
  static std::string kind_name() { return "sentence encoder"; }
  std::string kind() const override { return kind_name(); }
  void save(Package& out) const override;
  void load(const Package& in) override;

  const EncoderConfig& config() const { return config_; }
  const WeightMap& weights() const { return weights_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const EmbeddingOptions& options() const { return options_; }
  void set_options(const EmbeddingOptions& options) { options_ = options; }
  void to(c10::Device device);

  /// The ids that the network reads, cut to max_tokens.
  std::vector<std::int64_t> encode(const std::string& text) const;
  /// [N,D] float32 on the CPU, in the order of the texts; `chunk` of similar length at once.
  at::Tensor embed(const std::vector<std::string>& texts, std::int64_t chunk,
                   const ParallelCalls& parallel) const;

 private:
  at::Tensor embed_chunk(const std::vector<std::vector<std::int64_t>>& rows) const;

  EncoderConfig config_;
  WeightMap weights_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  EmbeddingOptions options_;
};

}  // namespace rewardloom
