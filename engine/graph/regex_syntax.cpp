#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/graph/regex_syntax.h"

#include <fmt/format.h>
#include <pcre2.h>

#include <array>

namespace rewardloom {

std::optional<std::string> regex_fault(const std::string& pattern) {
  // As in nodes/reward/pattern.cpp; the flags that a node may add do not change what compiles.
  constexpr std::uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* const code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                                         pattern.size(), flags, &error, &offset, nullptr);
  if (code != nullptr) {
    pcre2_code_free(code);
    return std::nullopt;
  }
  std::array<PCRE2_UCHAR, 256> reason{};
  pcre2_get_error_message(error, reason.data(), reason.size());
  return fmt::format("\"{}\" is wrong at character {}: {}", pattern, offset,
                     reinterpret_cast<const char*>(reason.data()));
}

}  // namespace rewardloom
