#include "nodes/text/pre_tokenizer.h"

#include <fmt/format.h>

#include <memory>

#include "nodes/text/byte_level.h"
#include "nodes/text/text_pattern.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

/// GPT-2's own pattern, which ByteLevel uses unless told not to.
constexpr const char* gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// Runs of word characters, and runs of what is neither these nor white space.
std::vector<TextSpan> words_and_signs(std::string_view text) {
  enum class Kind { white, word, sign };
  std::vector<TextSpan> out;
  Kind last = Kind::white;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character next = utf8_character(text, at);
    const Kind kind = is_white_space(next.c)      ? Kind::white
                      : is_word_character(next.c) ? Kind::word
                                                  : Kind::sign;
    if (kind != Kind::white && kind == last) {
      out.back().end += next.length;
    } else if (kind != Kind::white) {
      out.push_back({at, at + next.length});
    }
    last = kind;
    at += next.length;
  }
  return out;
}

}  // namespace

/// Cuts each piece into the spans that `rule` gives.
PreTokenizer::Step PreTokenizer::cutting(Rule rule) {
  return [rule = std::move(rule)](Piece piece, std::vector<Piece>& out) {
    const std::vector<TextSpan> spans = rule(piece.text);
    if (spans.size() == 1 && spans[0].end - spans[0].begin == piece.text.size()) {
      out.push_back(std::move(piece));
      return;
    }
    for (const TextSpan& span : spans) {
      Position position = piece.position;
      position.at_start = position.at_start && span.begin == 0;
      position.continues = position.continues && span.begin == 0;
      out.push_back({piece.text.substr(span.begin, span.end - span.begin), position});
    }
  };
}

PreTokenizer::Step PreTokenizer::byte_level_step(const TokenizerPart& part) {
  const bool space = part.flag("add_prefix_space", true);
  std::shared_ptr<const TextPattern> pattern;
  if (part.flag("use_regex", true)) {
    pattern = std::make_shared<const TextPattern>(gpt2_pattern, part.place());
  }
  return [space, pattern](Piece piece, std::vector<Piece>& out) {
    if (space && !piece.position.continues && !piece.text.starts_with(' '))
      piece.text.insert(0, 1, ' ');
    if (!pattern) {
      out.push_back({byte_level(piece.text), piece.position});
      return;
    }
    for (const TextSpan& s :
         cut(piece.text, pattern->matches(piece.text), SplitBehavior::isolated)) {
      out.push_back({byte_level(std::string_view(piece.text).substr(s.begin, s.end - s.begin)),
                     {piece.position.at_start && s.begin == 0, false}});
    }
  };
}

PreTokenizer::Step PreTokenizer::metaspace_step(const TokenizerPart& part) {
  const std::string mark = metaspace_replacement(part);
  const PrependScheme scheme = prepend_scheme(part);
  const Step split = cutting([at = TextPattern::literal(mark)](std::string_view text) {
    return cut(text, at.matches(text), SplitBehavior::merged_with_next);
  });
  return [mark, scheme, split, splits = part.flag("split", true),
          space = TextPattern::literal(" ")](Piece piece, std::vector<Piece>& out) {
    piece.text = space.replaced(piece.text, mark);
    const bool wanted = scheme == PrependScheme::always ||
                        (scheme == PrependScheme::first && piece.position.at_start);
    if (wanted && !piece.position.continues && !piece.text.starts_with(mark)) {
      piece.text.insert(0, mark);
    }
    if (splits) {
      split(std::move(piece), out);
    } else {
      out.push_back(std::move(piece));
    }
  };
}

PreTokenizer::Step PreTokenizer::step_of(const TokenizerPart& part) {
  const std::string type = part.type();
  const auto at_characters = [](bool (*wanted)(char32_t), SplitBehavior behavior) {
    return cutting(
        [=](std::string_view text) { return cut(text, matches_of(text, wanted), behavior); });
  };
  if (type == "ByteLevel") return byte_level_step(part);
  if (type == "Metaspace") return metaspace_step(part);
  if (type == "Split") {
    const TextPattern pattern(part.at("pattern"));
    const SplitBehavior behavior = split_behavior(part, SplitBehavior::removed);
    return cutting([pattern, behavior, invert = part.flag("invert", false)](std::string_view text) {
      return cut(text, pattern.matches(text), behavior, invert);
    });
  }
  if (type == "Digits") {
    const bool single = part.flag("individual_digits", false);
    return at_characters(is_numeric, single ? SplitBehavior::isolated : SplitBehavior::contiguous);
  }
  if (type == "Punctuation") {
    return at_characters(is_punctuation, split_behavior(part, SplitBehavior::isolated));
  }
  if (type == "WhitespaceSplit") return at_characters(is_white_space, SplitBehavior::removed);
  if (type == "Whitespace") {
    return cutting(words_and_signs);
  }
  if (type == "BertPreTokenizer") {
    const Step words = at_characters(is_white_space, SplitBehavior::removed);
    const Step signs = at_characters(is_punctuation, SplitBehavior::isolated);
    return [words, signs](Piece piece, std::vector<Piece>& out) {
      std::vector<Piece> pieces;
      words(std::move(piece), pieces);
      for (Piece& one : pieces) signs(std::move(one), out);
    };
  }
  if (type == "CharDelimiterSplit") {
    const std::string delimiter = part.text("delimiter");
    if (code_points(delimiter).size() != 1) part.refuse("delimiter is not one character");
    return cutting([at = TextPattern::literal(delimiter)](std::string_view text) {
      return cut(text, at.matches(text), SplitBehavior::removed);
    });
  }
  part.unsupported({"ByteLevel", "Metaspace", "Split", "Digits", "Punctuation", "Whitespace",
                    "WhitespaceSplit", "BertPreTokenizer", "CharDelimiterSplit", "Sequence"});
}

PreTokenizer::PreTokenizer(const TokenizerPart& pre_tokenizer) {
  for (const TokenizerPart& part : pre_tokenizer.sequence("pretokenizers")) {
    steps_.push_back(step_of(part));
  }
}

std::vector<std::string> PreTokenizer::split(std::string_view text, Position position) const {
  std::vector<Piece> pieces;
  if (!text.empty()) pieces.push_back({std::string(text), position});
  for (const Step& step : steps_) {
    std::vector<Piece> finer;
    finer.reserve(pieces.size());
    for (Piece& piece : pieces) step(std::move(piece), finer);
    pieces = std::move(finer);
  }
  std::vector<std::string> out;
  out.reserve(pieces.size());
  for (Piece& piece : pieces) out.push_back(std::move(piece.text));
  return out;
}

std::string metaspace_replacement(const TokenizerPart& part) {
  const std::string mark = part.text("replacement", "\u2581");
  if (code_points(mark).size() != 1) part.refuse("replacement is not one character");
  return mark;
}

PrependScheme prepend_scheme(const TokenizerPart& part) {
  const std::string scheme =
      part.text("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme == "always") return PrependScheme::always;
  if (scheme == "first") return PrependScheme::first;
  if (scheme == "never") return PrependScheme::never;
  part.refuse(fmt::format("the prepend_scheme {} is not known", scheme));
}

}  // namespace rewardloom
