// WordPiece: the longest known start of a word, again and again.
#pragma once
#include "nodes/text/prefix_index.h"
#include "nodes/text/token_model.h"

namespace rewardloom {

/// The `model` of type WordPiece. Wu et al. 2016, arXiv:1609.08144.
class WordPieces final : public TokenModel {
 public:
  explicit WordPieces(const TokenizerPart& model);

  /// Greedy from the left. A word with a rest that no piece begins, or with more characters than
  /// the model takes, is one unknown token.
  void encode(std::string_view piece, std::vector<std::int64_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<std::int64_t> unknown() const override { return unknown_; }

 private:
  Vocabulary vocabulary_;
  PrefixIndex starts_, continuations_;
  std::int64_t unknown_ = 0;
  std::int64_t longest_word_ = 100;
};

}  // namespace rewardloom
