// Byte-pair encoding: a vocabulary and ranked merges.
#pragma once
#include "nodes/text/token_model.h"

namespace rewardloom {

/// The `model` of type BPE. Sennrich et al. 2016, arXiv:1508.07909.
class BytePairs final : public TokenModel {
 public:
  /// Failure `tokenizer` for a merge whose tokens are not in the vocabulary, and for dropout: the
  /// ids of a text would be random.
  explicit BytePairs(const TokenizerPart& model);

  /// Characters, merged in order of rank; time grows as n log n with the length of the piece. A
  /// character that is not in the vocabulary becomes its bytes, if the model falls back on bytes,
  /// or the unknown token; it is left out where there is none.
  void encode(std::string_view piece, std::vector<std::int64_t>& ids) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::optional<std::int64_t> unknown() const override { return unknown_; }

 private:
  struct Merge {
    std::int64_t rank;
    std::int64_t id;
  };
  void read_merge(const TokenizerPart& model, const nlohmann::json& merge, std::int64_t rank);
  const Merge* merge_of(std::int64_t left, std::int64_t right) const;
  std::vector<std::int64_t> characters(std::string_view piece) const;
  std::optional<std::int64_t> character_id(std::string_view character, bool first, bool last) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::optional<std::int64_t> unknown_;
  std::string prefix_, suffix_;
  bool byte_fallback_ = false;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace rewardloom
