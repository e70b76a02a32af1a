// Byte-pair encoding: a vocabulary and ranked merges.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rewardloom {

/// The `model` of a tokenizer.json of type BPE. Sennrich et al. 2016, arXiv:1508.07909.
class BytePairs {
 public:
  /// Failure `tokenizer` for a model that is no BPE or uses dropout, prefixes or suffixes.
  /// (nlohmann::json finds a key in logarithmic time; our own Json, in order, would take minutes.)
  explicit BytePairs(const nlohmann::json& model);

  /// Appends the ids of one piece of text: characters, merged in order of rank. A character that is
  /// not in the vocabulary becomes its bytes, if the model falls back on bytes, or the unknown
  /// token.
  void encode(std::string_view piece, std::vector<std::int64_t>& ids) const;
  std::optional<std::int64_t> id_of(std::string_view token) const;
  const std::unordered_map<std::string, std::int64_t>& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    std::int64_t rank;
    std::int64_t id;
  };
  void add_merge(const std::string& left, const std::string& right, std::int64_t rank);
  const Merge* merge_of(std::int64_t left, std::int64_t right) const;
  std::vector<std::int64_t> characters(std::string_view piece) const;

  std::unordered_map<std::string, std::int64_t> vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::optional<std::int64_t> unknown_;
  bool byte_fallback_ = false;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace rewardloom
