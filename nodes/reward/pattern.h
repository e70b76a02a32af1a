// Regular expressions over answers that a model wrote: PCRE2 with a bound on the work of one match.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

struct PatternOptions {
  bool ignore_case = false;
  bool dot_all = true;                    ///< . matches a line break
  bool multi_line = false;                ///< ^ and $ match at line breaks
  std::uint32_t match_limit = 1'000'000;  ///< steps of backtracking after which a match is given up
};

/// What a search found.
struct PatternMatch {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::vector<std::optional<std::string_view>> groups;  ///< 0 is the whole match
};

/// Thrown where a match needs more steps than the limit allows.
struct PatternLimit {
  std::uint32_t steps;
};

/// A compiled pattern; searching is const and may happen in several threads.
class Pattern {
 public:
  /// Failure `bad-pattern` with the position and PCRE2's reason.
  explicit Pattern(std::string text, const PatternOptions& options = {});

  /// The first match at or after `from`. Text that is no valid UTF-8 is searched around its faults.
  /// Throws PatternLimit.
  std::optional<PatternMatch> search(std::string_view text, std::size_t from = 0) const;
  /// The last of the matches that follow each other without overlap.
  std::optional<PatternMatch> last(std::string_view text) const;
  /// The number of capturing groups.
  std::size_t groups() const;
  /// The number of the group called `name` (or of that number). Failure `bad-group`.
  std::size_t group(const std::string& name) const;

 private:
  struct Code;
  std::string text_;
  std::uint32_t match_limit_;
  std::shared_ptr<const Code> code_;
};

}  // namespace rewardloom
