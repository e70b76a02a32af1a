// The `model` of a tokenizer.json: from one piece of text to token ids.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// Tokens and their ids.
class Vocabulary {
 public:
  /// An object of ids by token. Failure `tokenizer` for anything else.
  explicit Vocabulary(const TokenizerPart& part);
  /// A list of [token, score], the id is the place in it; scores come back in `scores`.
  Vocabulary(const TokenizerPart& part, std::vector<double>& scores);

  std::optional<std::int64_t> id_of(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  /// The ids of <0x00> .. <0xFF> for the bytes of `text`, appended; false where one is missing.
  bool add_bytes(std::string_view text, std::vector<std::int64_t>& ids) const;
  void each(const std::function<void(const std::string&, std::int64_t)>& visit) const {
    for (const auto& [token, id] : ids_) visit(token, id);
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  void find_bytes();
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> ids_;
  std::vector<std::int64_t> bytes_;  ///< [256], -1 where there is none
};

/// Const members may be called from several threads.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of one piece of valid UTF-8 text.
  virtual void encode(std::string_view piece, std::vector<std::int64_t>& ids) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
  virtual std::optional<std::int64_t> unknown() const = 0;
};

/// BPE, Unigram or WordPiece. Failure `tokenizer` for another type.
std::unique_ptr<const TokenModel> read_token_model(const TokenizerPart& model);

}  // namespace rewardloom
