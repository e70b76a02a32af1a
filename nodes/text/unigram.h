// The unigram language model: the most probable cut of a text into pieces.
#pragma once
#include "nodes/text/prefix_index.h"
#include "nodes/text/token_model.h"

namespace rewardloom {

/// The `model` of type Unigram. Kudo 2018, arXiv:1804.10959.
class Unigram final : public TokenModel {
 public:
  explicit Unigram(const TokenizerPart& model);

  /// The path of the highest sum of log-probabilities (Viterbi). A character that no piece covers
  /// costs 10 more than the rarest piece; a run of them is one unknown token, or the bytes of the
  /// run if the model falls back on bytes. Failure `tokenizer` where there is no unknown token.
  void encode(std::string_view piece, std::vector<std::int64_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<std::int64_t> unknown() const override { return unknown_; }

 private:
  /// The best path that ends at a byte.
  struct Arrival {
    double score = 0;
    std::int64_t id = -1;
    std::size_t from = 0;
    bool reached = false;
  };
  std::vector<Arrival> best_paths(std::string_view piece) const;
  void add(std::string_view text, std::vector<std::int64_t>& ids) const;

  std::vector<double> scores_;
  Vocabulary vocabulary_;
  PrefixIndex index_;
  std::optional<std::int64_t> unknown_;
  double unknown_score_ = 0;
  bool byte_fallback_ = false;
};

}  // namespace rewardloom
