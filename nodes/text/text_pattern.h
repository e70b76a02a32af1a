// What the `pattern` of a tokenizer.json matches: a text, or a regular expression.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

/// Bytes begin .. end - 1 of a text.
struct TextSpan {
  std::size_t begin;
  std::size_t end;
};

class TextPattern {
 public:
  /// {"String": ...} or {"Regex": ...}, the latter in Oniguruma's syntax: ^ and $ stand at lines,
  /// \s is White_Space, \w holds marks, \h is a hexadecimal digit. Failure `tokenizer` for what
  /// does not compile or means something else here (intersections and classes in classes).
  explicit TextPattern(const TokenizerPart& pattern);
  /// A regular expression of our own.
  TextPattern(const std::string& regex, const std::string& place);
  /// The same for a plain text, which is not empty.
  static TextPattern literal(std::string text);

  /// Matches from left to right in `text`, valid UTF-8; empty ones too. Failure `tokenizer` where
  /// matching takes more than the library's limits.
  std::vector<TextSpan> matches(std::string_view text) const;
  std::string replaced(std::string_view text, std::string_view by) const;

 private:
  class Regex;
  TextPattern() = default;
  std::string literal_;
  std::shared_ptr<const Regex> regex_;
};

/// Spans of all characters of which `wanted` is true, one by one.
std::vector<TextSpan> matches_of(std::string_view text,
                                 const std::function<bool(char32_t)>& wanted);

/// What becomes of matches when text is cut at them.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
/// By its name in the file, e.g. MergedWithNext; `otherwise` where the key is missing.
SplitBehavior split_behavior(const TokenizerPart& part, SplitBehavior otherwise);
/// The pieces of `text`, none empty, in order. With `invert`, what lies between matches is the
/// match.
std::vector<TextSpan> cut(std::string_view text, const std::vector<TextSpan>& matches,
                          SplitBehavior behavior, bool invert = false);

}  // namespace rewardloom
