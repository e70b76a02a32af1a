// Tokens that are cut out of a text before anything else: special ones and those added later.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "nodes/text/prefix_index.h"

namespace rewardloom {

struct AddedToken {
  std::string text;
  std::int64_t id = 0;
  bool special = false;      ///< left out when ids become text
  bool single_word = false;  ///< only between characters that belong to no word
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< and behind it
  bool normalized = false;   ///< sought in the normalised text
};

class AddedTokens {
 public:
  AddedTokens() = default;
  /// `normalize` gives the form in which normalised tokens are sought.
  AddedTokens(std::vector<AddedToken> tokens,
              const std::function<std::string(std::string_view)>& normalize);

  /// A stretch of text, or an added token in its place.
  struct Part {
    std::string_view text;
    const AddedToken* token = nullptr;
  };
  /// Of several tokens that start at one place the longest is meant; parts are not empty.
  std::vector<Part> cut_raw(std::string_view text) const { return cut(text, raw_); }
  std::vector<Part> cut_normalized(std::string_view text) const { return cut(text, normalized_); }

  const AddedToken* by_id(std::int64_t id) const;
  std::optional<std::int64_t> id_of(std::string_view text) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  std::vector<Part> cut(std::string_view text, const PrefixIndex& index) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::int64_t, std::size_t> by_id_;
  PrefixIndex raw_, normalized_;
};

}  // namespace rewardloom
