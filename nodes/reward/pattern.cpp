#define PCRE2_CODE_UNIT_WIDTH 8
#include "nodes/reward/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <charconv>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

std::string reason(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

struct FreeData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

}  // namespace

struct Pattern::Code {
  explicit Code(pcre2_code* compiled) : code(compiled) {}
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  pcre2_code* const code;
};

Pattern::Pattern(std::string text, const PatternOptions& options)
    : text_(std::move(text)), match_limit_(options.match_limit) {
  std::uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
  if (options.ignore_case) flags |= PCRE2_CASELESS;
  if (options.dot_all) flags |= PCRE2_DOTALL;
  if (options.multi_line) flags |= PCRE2_MULTILINE;
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const compiled =
      pcre2_compile(units(text_), text_.size(), flags, &error, &offset, nullptr);
  if (compiled == nullptr) {
    throw Failure("bad-pattern",
                  fmt::format("the pattern \"{}\" is wrong at character {}: {}", text_, offset,
                              reason(error)),
                  "patterns are Perl-compatible regular expressions");
  }
  code_ = std::make_shared<const Code>(compiled);
}

std::optional<PatternMatch> Pattern::search(std::string_view text, std::size_t from) const {
  const std::unique_ptr<pcre2_match_data, FreeData> data(
      pcre2_match_data_create_from_pattern(code_->code, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeContext> context(
      pcre2_match_context_create(nullptr));
  pcre2_set_match_limit(context.get(), match_limit_);
  const int found =
      pcre2_match(code_->code, units(text), text.size(), from, 0, data.get(), context.get());
  if (found == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (found == PCRE2_ERROR_MATCHLIMIT || found == PCRE2_ERROR_DEPTHLIMIT ||
      found == PCRE2_ERROR_HEAPLIMIT) {
    throw PatternLimit{match_limit_};
  }
  if (found < 0) {
    throw Failure("pattern-failed",
                  fmt::format("matching the pattern \"{}\" failed: {}", text_, reason(found)));
  }
  const PCRE2_SIZE* const ends = pcre2_get_ovector_pointer(data.get());
  PatternMatch match{ends[0], ends[1], {}};
  for (std::uint32_t g = 0; g < pcre2_get_ovector_count(data.get()); ++g) {
    const bool set = static_cast<int>(g) < found && ends[2 * g] != PCRE2_UNSET;
    match.groups.push_back(
        set ? std::optional(text.substr(ends[2 * g], ends[2 * g + 1] - ends[2 * g]))
            : std::nullopt);
  }
  return match;
}

std::optional<PatternMatch> Pattern::last(std::string_view text) const {
  std::optional<PatternMatch> best;
  std::size_t from = 0;
  while (from <= text.size()) {
    std::optional<PatternMatch> next = search(text, from);
    if (!next) break;
    from = next->end > next->begin ? next->end : next->end + 1;
    // An empty match must not make the search begin inside a character.
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
    best = std::move(next);
  }
  return best;
}

std::size_t Pattern::groups() const {
  std::uint32_t count = 0;
  pcre2_pattern_info(code_->code, PCRE2_INFO_CAPTURECOUNT, &count);
  return count;
}

std::size_t Pattern::group(const std::string& name) const {
  std::size_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [after, error] = std::from_chars(name.data(), end, number);
  if (error == std::errc() && after == end && number <= groups()) return number;
  const int found = pcre2_substring_number_from_name(code_->code, units(name));
  if (found > 0) return static_cast<std::size_t>(found);
  throw Failure("bad-group",
                fmt::format("the pattern \"{}\" has no group \"{}\": it has {} of them", text_,
                            name, groups()),
                "give the number of a group, or its name: (?<name>...)");
}

}  // namespace rewardloom
