// Cuts normalised text into the pieces that the model turns into tokens.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// The `pre_tokenizer` of a tokenizer.json, components in order: ByteLevel, Metaspace, Split,
/// Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, CharDelimiterSplit.
class PreTokenizer {
 public:
  /// Where a text stands: at the start of the whole, and whether it continues other text, so that
  /// nothing is put before it.
  struct Position {
    bool at_start = true;
    bool continues = false;
  };
  /// Null: the text stays whole. Failure `tokenizer` names another component, or a pattern that
  /// does not compile.
  explicit PreTokenizer(const TokenizerPart& pre_tokenizer);
  /// In order, none empty; at byte level each byte is one printable character.
  std::vector<std::string> split(std::string_view text, Position position) const;

 private:
  struct Piece {
    std::string text;
    Position position;
  };
  using Step = std::function<void(Piece, std::vector<Piece>&)>;
  using Rule = std::function<std::vector<struct TextSpan>(std::string_view)>;
  static Step step_of(const TokenizerPart& part);
  static Step cutting(Rule rule);
  static Step byte_level_step(const TokenizerPart& part);
  static Step metaspace_step(const TokenizerPart& part);
  std::vector<Step> steps_;
};

/// What stands for a space: the `replacement` of a Metaspace component, one character.
std::string metaspace_replacement(const TokenizerPart& part);
enum class PrependScheme { never, first, always };
/// When a Metaspace component puts a space before the text; older files say `add_prefix_space`.
PrependScheme prepend_scheme(const TokenizerPart& part);

}  // namespace rewardloom
