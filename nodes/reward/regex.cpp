#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/numeric_equal.h"
#include "nodes/reward/pattern.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

enum class RegexCompare { found, text, number };
constexpr auto choices(RegexCompare) {
  return std::to_array<Choice<RegexCompare>>({
      {RegexCompare::found, "found", "right if the pattern matches"},
      {RegexCompare::text, "text", "right if the group's text is the true answer"},
      {RegexCompare::number, "number", "right if the group's number is that of the true answer"},
  });
}

enum class RegexMatch { first, last };
constexpr auto choices(RegexMatch) {
  return std::to_array<Choice<RegexMatch>>({
      {RegexMatch::first, "first", "the first match counts"},
      {RegexMatch::last, "last", "the last one does"},
  });
}

}  // namespace

struct Regex final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Optional<TextRows> truth{this, "truth", "the true answers; else the completions' references"};
  Output<Rewards> rewards{this, "rewards", "`right`, `wrong` or `missing`"};
  Param<std::string> pattern{this, "pattern", required, "a Perl-compatible regular expression"};
  Param<RegexCompare> compare{this, "compare", RegexCompare::found, "what makes an answer right"};
  Param<RegexMatch> match{this, "match", RegexMatch::last, "which match is compared"};
  Param<std::string> group{this, "group", std::string(),
                           "number or name of the group; else the first, or the match without one"};
  Param<bool> ignore_case{this, "ignore_case", false, "a-z and A-Z are the same"};
  Param<bool> dot_all{this, "dot_all", true, "a dot matches a line break"};
  Param<bool> multi_line{this, "multi_line", false, "^ and $ match at line breaks"};
  Param<std::int64_t> match_limit{this,
                                  "match_limit",
                                  1'000'000,
                                  "backtracking after which a match is given up",
                                  {.min = 1000, .max = 1e9, .unit = "steps"}};
  Param<double> relative{
      this, "relative_tolerance", 1e-6, "number: times the true one", {.min = 0}};
  Param<double> absolute{this, "absolute_tolerance", 1e-9, "number: and this besides", {.min = 0}};
  Param<double> right{this, "right", 1.0, "reward of a right answer"};
  Param<double> wrong{this, "wrong", 0.0, "reward of a wrong one"};
  Param<double> missing{this, "missing", 0.0, "reward of an answer that does not match"};
  Rule compiles{this,
                {Json::object(),
                 {{"pattern", {{"syntax", "regex"}}}},
                 "the pattern does not compile",
                 "patterns are Perl-compatible regular expressions"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"regular expression", "pattern", "format reward", "extract", "PCRE"}};
  Doc doc{
      this,
      "rewards [N]: does the pattern match, and is what its group holds the true answer? A match "
      "that needs more steps than match_limit (a pattern such as (a+)+$) is given up: that row "
      "cannot be scored."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    const Pattern compiled(pattern(), {ignore_case(), dot_all(), multi_line(),
                                       static_cast<std::uint32_t>(match_limit())});
    const std::size_t part = compared_group(compiled);
    const std::vector<std::string>* const wanted =
        compare() == RegexCompare::found ? nullptr : &truths(c, step[truth]);
    RowScores scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (const auto fault =
              score(compiled, part, texts[i], wanted == nullptr ? std::string_view() : (*wanted)[i],
                    i, scores)) {
        scores.fail(step, i, *fault);
      }
    }
    step[rewards] = scored(step, c, scores.scores(), scores.absent());
  }

 private:
  std::size_t compared_group(const Pattern& compiled) const {
    if (!group().empty()) return compiled.group(group());
    return compare() == RegexCompare::found || compiled.groups() == 0 ? 0 : 1;
  }

  /// Sets the row's score, or says why there is none.
  std::optional<std::string> score(const Pattern& compiled, std::size_t part, std::string_view text,
                                   std::string_view wanted, std::size_t row,
                                   RowScores& scores) const {
    const std::optional<WrittenNumber> number = read_number(wanted);
    if (compare() == RegexCompare::number && !number) {
      return fmt::format("the true answer \"{}\" is no number", wanted);
    }
    std::optional<PatternMatch> found;
    try {
      found = match() == RegexMatch::last && compare() != RegexCompare::found
                  ? compiled.last(text)
                  : compiled.search(text);
    } catch (const PatternLimit& limit) {
      return fmt::format("the pattern needs more than {} steps on this answer", limit.steps);
    }
    if (!found || !found->groups[part]) {
      scores.set(row, missing());
      return std::nullopt;
    }
    scores.set(row, is_right(*found->groups[part], wanted, number) ? right() : wrong());
    return std::nullopt;
  }

  bool is_right(std::string_view given, std::string_view wanted,
                const std::optional<WrittenNumber>& number) const {
    switch (compare()) {
      case RegexCompare::text: return stripped(given) == stripped(wanted);
      case RegexCompare::number: {
        const std::optional<WrittenNumber> value = read_number(given);
        return value &&
               numerically_equal(*value, *number, {relative(), absolute(), Percent::fraction});
      }
      case RegexCompare::found: break;
    }
    return true;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Regex, "Regular expression", "")
