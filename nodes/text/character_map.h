// The rewriting rules of a SentencePiece model, as the component Precompiled carries them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// `precompiled_charsmap`: the size of a double-array trie in bytes, the trie (Aoe 1989;
/// units as in Darts-clone), then texts that end in a zero byte. The trie gives the offset of the
/// text that takes a character sequence's place.
class CharacterMap {
 public:
  /// No rules.
  CharacterMap() = default;
  /// From the map itself. Failure `tokenizer` for one that is cut short.
  explicit CharacterMap(std::string_view bytes);
  /// From the component, where it is in base64.
  explicit CharacterMap(const TokenizerPart& part);

  /// Whole grapheme clusters of less than 6 bytes first, else character by character, each as the
  /// shortest rule for its start says: what Hugging Face's library does.
  std::string operator()(std::string_view text) const;

  struct Rule {
    std::size_t length;   ///< bytes of the text
    std::string_view by;  ///< what takes their place
  };
  /// The rule for the longest start of `text`: what the SentencePiece library applies.
  std::optional<Rule> longest(std::string_view text) const { return find(text, false); }

 private:
  std::optional<Rule> find(std::string_view text, bool shortest) const;
  void add(std::string_view cluster, std::string& out) const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace rewardloom
