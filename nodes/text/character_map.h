// The rewriting rules of a SentencePiece model, as the component Precompiled carries them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// `precompiled_charsmap` in base64: the size of a double-array trie in bytes, the trie (Aoe 1989;
/// units as in Darts-clone), then texts that end in a zero byte. The trie gives the offset of the
/// text that takes a character sequence's place.
class CharacterMap {
 public:
  /// Failure `tokenizer` for a map that is cut short or not base64.
  explicit CharacterMap(const TokenizerPart& part);
  /// Whole grapheme clusters of less than 6 bytes first, else character by character.
  std::string operator()(std::string_view text) const;

 private:
  /// What stands for the shortest start of `text` that the trie holds; false if there is none.
  bool find(std::string_view text, std::string_view& by) const;
  void add(std::string_view cluster, std::string& out) const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
};

}  // namespace rewardloom
