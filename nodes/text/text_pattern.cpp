#define PCRE2_CODE_UNIT_WIDTH 8
#include "nodes/text/text_pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <algorithm>
#include <map>
#include <utility>

#include "engine/core/problem.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

constexpr const char* white_space =
    R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F})"
    R"(\x{205F}\x{3000})";
/// Oniguruma counts superscript digits and fractions of Latin-1 among them.
constexpr const char* word =
    R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE}\x{24B6}-\x{24E9})"
    R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189})";

std::shared_ptr<pcre2_code> compiled(const std::string& pattern, std::size_t& offset) {
  int error = 0;
  PCRE2_SIZE at = 0;
  pcre2_code* const code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr);
  offset = at;
  return {code, pcre2_code_free};
}

/// From Oniguruma's syntax to that of PCRE2, where the two write the same differently.
class Translation {
 public:
  Translation(const std::string& from, const std::string& place) : from_(from), place_(place) {
    while (at_ < from_.size()) step();
  }
  std::string result() && { return std::move(out_); }

 private:
  [[noreturn]] void refuse(const char* what) const {
    throw Failure("tokenizer",
                  fmt::format("tokenizer.json: {}: the pattern {} has {} at character {}", place_,
                              from_, what, at_),
                  "write the class without it");
  }

  void step() {
    const char c = from_[at_];
    if (c == '\\' && at_ + 1 < from_.size()) return escape();
    if (in_class_) {
      if (c == '[' && !from_.compare(at_, 2, "[:")) return copy_until(":]");
      if (c == '[') refuse("a class within a class");
      if (c == '&' && !from_.compare(at_, 2, "&&")) refuse("an intersection of classes");
      // The first ] of a class is a member.
      if (c == ']' && at_ > class_start_) in_class_ = false;
    } else if (c == '[') {
      in_class_ = true;
      class_start_ = at_ + (!from_.compare(at_ + 1, 1, "^") ? 2 : 1);
    }
    out_ += c;
    ++at_;
  }

  void copy_until(std::string_view end) {
    const std::size_t stop = from_.find(end, at_);
    const std::size_t next = stop == std::string::npos ? from_.size() : stop + end.size();
    out_ += from_.substr(at_, next - at_);
    at_ = next;
  }

  void escape() {
    const char c = from_[at_ + 1];
    if ((c == 'p' || c == 'P') && !from_.compare(at_ + 2, 1, "{")) return property();
    static const std::map<char, const char*> classes{{'s', white_space}, {'S', white_space},
                                                     {'w', word},        {'W', word},
                                                     {'h', "0-9a-fA-F"}, {'H', "0-9a-fA-F"}};
    const auto found = classes.find(c);
    if (found == classes.end()) {
      out_ += from_.substr(at_, 2);
    } else if (const bool negated = c < 'a'; in_class_ && negated) {
      // Within a class PCRE2 has no form for the complement of a list.
      if (c == 'H') refuse("\\H in a class");
      out_ += from_.substr(at_, 2);
    } else {
      out_ += in_class_ ? std::string(found->second)
                        : fmt::format("[{}{}]", negated ? "^" : "", found->second);
    }
    at_ += 2;
  }

  /// A script by its name alone is the script itself, not its extensions.
  void property() {
    const std::size_t end = from_.find('}', at_);
    if (end == std::string::npos) return copy_until("}");
    const std::string name = from_.substr(at_ + 3, end - at_ - 3);
    std::size_t offset = 0;
    const bool script = name.size() > 2 && name != "Any" &&
                        name.find_first_of("^:=&") == std::string::npos &&
                        compiled("\\p{sc:" + name + "}", offset);
    out_ += fmt::format("\\{}{{{}{}}}", from_[at_ + 1], script ? "sc:" : "", name);
    at_ = end + 1;
  }

  const std::string& from_;
  const std::string& place_;
  std::string out_;
  std::size_t at_ = 0;
  std::size_t class_start_ = 0;
  bool in_class_ = false;
};

}  // namespace

/// A compiled expression; matching it is const.
class TextPattern::Regex {
 public:
  Regex(const std::string& text, const std::string& place) : text_(text) {
    const std::string translated = Translation(text, place).result();
    std::size_t offset = 0;
    code_ = compiled(translated, offset);
    if (!code_) {
      throw Failure(
          "tokenizer",
          fmt::format("tokenizer.json: {}: the pattern {} does not compile at character {}", place,
                      translated, offset));
    }
    // Where there is no just-in-time compiler, matching falls back on the interpreter.
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
  }

  std::vector<TextSpan> matches(std::string_view text) const {
    const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> data(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr), pcre2_match_data_free);
    std::vector<TextSpan> out;
    std::size_t at = 0;
    std::uint32_t options = 0;
    while (at <= text.size()) {
      if (!match(text, at, options, data.get())) break;
      // Checking the text once is enough; again for each match it would be quadratic.
      options = PCRE2_NO_UTF_CHECK;
      const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(data.get());
      const bool empty = ends[0] >= ends[1];
      // An empty match directly behind another one is none.
      if (!empty || out.empty() || out.back().end != ends[0])
        out.push_back({ends[0], std::max(ends[0], ends[1])});
      at = out.back().end;
      if (empty)
        at = ends[0] < text.size() ? ends[0] + utf8_character(text, ends[0]).length
                                   : text.size() + 1;
    }
    return out;
  }

 private:
  bool match(std::string_view text, std::size_t at, std::uint32_t options,
             pcre2_match_data* data) const {
    const auto attempt = [&](std::uint32_t more) {
      return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                         options | more, data, nullptr);
    };
    int found = attempt(0);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = attempt(PCRE2_NO_JIT);
    if (found == PCRE2_ERROR_NOMATCH) return false;
    if (found >= 0) return true;
    throw Failure(
        "tokenizer",
        fmt::format("matching the pattern {} failed at byte {}: PCRE2 error {}", text_, at, found));
  }

  std::string text_;
  std::shared_ptr<pcre2_code> code_;
};

TextPattern::TextPattern(const TokenizerPart& pattern) {
  if (pattern.has("Regex")) {
    regex_ = std::make_shared<const Regex>(pattern.text("Regex"), pattern.place());
  } else if (pattern.has("String")) {
    literal_ = pattern.text("String");
    if (literal_.empty()) pattern.refuse("is an empty text");
  } else {
    pattern.refuse("is neither a String nor a Regex");
  }
}

TextPattern::TextPattern(const std::string& regex, const std::string& place)
    : regex_(std::make_shared<const Regex>(regex, place)) {}

TextPattern TextPattern::literal(std::string text) {
  TextPattern out;
  out.literal_ = std::move(text);
  return out;
}

std::vector<TextSpan> TextPattern::matches(std::string_view text) const {
  if (regex_) return regex_->matches(text);
  std::vector<TextSpan> out;
  for (std::size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    out.push_back({at, at + literal_.size()});
  }
  return out;
}

std::string TextPattern::replaced(std::string_view text, std::string_view by) const {
  const std::vector<TextSpan> found = matches(text);
  if (found.empty()) return std::string(text);
  std::string out;
  std::size_t at = 0;
  for (const TextSpan& span : found) {
    out.append(text.substr(at, span.begin - at)).append(by);
    at = span.end;
  }
  return out.append(text.substr(at));
}

std::vector<TextSpan> matches_of(std::string_view text,
                                 const std::function<bool(char32_t)>& wanted) {
  std::vector<TextSpan> out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character next = utf8_character(text, at);
    if (wanted(next.c)) out.push_back({at, at + next.length});
    at += next.length;
  }
  return out;
}

SplitBehavior split_behavior(const TokenizerPart& part, SplitBehavior otherwise) {
  if (!part.has("behavior")) return otherwise;
  static const std::map<std::string, SplitBehavior> names{
      {"Removed", SplitBehavior::removed},
      {"Isolated", SplitBehavior::isolated},
      {"MergedWithPrevious", SplitBehavior::merged_with_previous},
      {"MergedWithNext", SplitBehavior::merged_with_next},
      {"Contiguous", SplitBehavior::contiguous},
  };
  const std::string name = part.text("behavior");
  const auto found = names.find(name);
  if (found == names.end()) part.refuse(fmt::format("the behavior {} is not known", name));
  return found->second;
}

namespace {

struct CutPart {
  TextSpan span;
  bool match;
};

/// Matches and what lies between them, from the first byte to the last.
std::vector<CutPart> cover(std::string_view text, const std::vector<TextSpan>& matches,
                           bool invert) {
  std::vector<CutPart> out;
  std::size_t at = 0;
  for (const TextSpan& span : matches) {
    if (span.begin > at) out.push_back({{at, span.begin}, invert});
    out.push_back({span, !invert});
    at = span.end;
  }
  if (at < text.size()) out.push_back({{at, text.size()}, invert});
  return out;
}

/// Joins each part with the one before it where `joins(previous, this)`.
template <class Joins>
std::vector<CutPart> joined(const std::vector<CutPart>& parts, Joins joins) {
  std::vector<CutPart> out;
  for (const CutPart& part : parts) {
    if (!out.empty() && joins(out.back().match, part.match)) {
      out.back() = {{out.back().span.begin, part.span.end}, part.match};
    } else {
      out.push_back(part);
    }
  }
  return out;
}

}  // namespace

std::vector<TextSpan> cut(std::string_view text, const std::vector<TextSpan>& matches,
                          SplitBehavior behavior, bool invert) {
  std::vector<CutPart> parts = cover(text, matches, invert);
  if (behavior == SplitBehavior::removed) {
    std::erase_if(parts, [](const CutPart& part) { return part.match; });
  } else if (behavior == SplitBehavior::contiguous) {
    parts = joined(parts, [](bool before, bool now) { return before == now; });
  } else if (behavior == SplitBehavior::merged_with_previous) {
    parts = joined(parts, [](bool before, bool now) { return now && !before; });
  } else if (behavior == SplitBehavior::merged_with_next) {
    parts = joined(parts, [](bool before, bool now) { return before && !now; });
  }
  std::vector<TextSpan> out;
  for (const CutPart& part : parts) {
    if (part.span.end > part.span.begin) out.push_back(part.span);
  }
  return out;
}

}  // namespace rewardloom
