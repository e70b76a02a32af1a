#include "nodes/reward/boxed_answer.h"

#include <array>
#include <utility>

#include "engine/core/registry.h"
#include "nodes/reward/numeric_equal.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

/// The text up to the brace that closes one opened before it; nullopt if none does.
std::optional<std::string_view> braced(std::string_view text) {
  int depth = 1;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      ++depth;
    } else if (text[i] == '}' && --depth == 0) {
      return text.substr(0, i);
    }
  }
  return std::nullopt;
}

/// \text{m} and \mathrm{m} become m.
std::string without_wrappers(std::string_view text) {
  constexpr std::string_view kWrappers[] = {"\\text{", "\\mathrm{", "\\textbf{", "\\mbox{"};
  std::string out;
  while (!text.empty()) {
    bool unwrapped = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!text.starts_with(wrapper)) continue;
      const auto inner = braced(text.substr(wrapper.size()));
      if (!inner) break;
      out += without_wrappers(*inner);
      text.remove_prefix(wrapper.size() + inner->size() + 1);
      unwrapped = true;
      break;
    }
    if (unwrapped) continue;
    out += text.front();
    text.remove_prefix(1);
  }
  return out;
}

}  // namespace

std::optional<std::string_view> last_boxed(std::string_view text) {
  const std::size_t boxed = text.rfind("\\boxed"), framed = text.rfind("\\fbox");
  if (boxed == std::string_view::npos && framed == std::string_view::npos) return std::nullopt;
  const bool is_boxed =
      framed == std::string_view::npos || (boxed != std::string_view::npos && boxed > framed);
  text.remove_prefix(is_boxed ? boxed + 6 : framed + 5);
  const bool spaced = text.starts_with(' ');
  std::string_view inside = stripped(text);
  if (inside.starts_with('{')) return braced(inside.substr(1));
  if (!spaced || inside.empty()) return std::nullopt;
  return inside.substr(0, inside.find_first_of(" \t\r\n$"));
}

std::string plain_latex(std::string_view text) {
  std::string_view rest = stripped(text);
  if (rest.ends_with('.')) rest.remove_suffix(1);
  constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kRules{
      {{"\\left", ""},
       {"\\right", ""},
       {"\\dfrac", "\\frac"},
       {"\\tfrac", "\\frac"},
       {"\\%", "%"},
       {"\\$", ""},
       {"\\!", ""},
       {"\\,", ""},
       {"\\;", ""},
       {"\\ ", ""},
       {"^{\\circ}", ""},
       {"^\\circ", ""}}};
  const std::string unwrapped = without_wrappers(rest);
  rest = unwrapped;
  std::string out;
  while (!rest.empty()) {
    bool replaced = false;
    for (const auto& [from, to] : kRules) {
      if (!rest.starts_with(from)) continue;
      const char next = rest.size() > from.size() ? rest[from.size()] : ' ';
      const bool is_longer = (next >= 'a' && next <= 'z') && from.back() == 't';  // \leftarrow
      if (is_longer) continue;
      out += to;
      rest.remove_prefix(from.size());
      replaced = true;
      break;
    }
    if (replaced) continue;
    const char c = rest.front();
    if (c != '$' && stripped(rest.substr(0, 1)).size() == 1) out += c;
    rest.remove_prefix(1);
  }
  return out;
}

namespace {

enum class BoxCompare { text, number };
constexpr auto choices(BoxCompare) {
  return std::to_array<Choice<BoxCompare>>({
      {BoxCompare::text, "text", "as text, without what does not change a formula's meaning"},
      {BoxCompare::number, "number", "as numbers, where both are; else as text"},
  });
}

}  // namespace

struct BoxedAnswer final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Optional<TextRows> truth{this, "truth",
                           "the true answers, boxed or bare; else the completions' references"};
  Output<Rewards> rewards{this, "rewards", "`right`, `wrong` or `missing`"};
  Param<BoxCompare> compare{this, "compare", BoxCompare::number, "how the two are compared"};
  Param<double> relative{
      this, "relative_tolerance", 1e-6, "number: times the true one", {.min = 0}};
  Param<double> absolute{this, "absolute_tolerance", 1e-9, "number: and this besides", {.min = 0}};
  Param<Percent> percent{this, "percent", Percent::either, "what a percent sign means"};
  Param<double> right{this, "right", 1.0, "reward of a right answer"};
  Param<double> wrong{this, "wrong", 0.0, "reward of a wrong one"};
  Param<double> missing{this, "missing", 0.0, "reward of an answer without a closed box"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"boxed", "MATH", "LaTeX", "verifiable reward", "GSM8K"}};
  Doc doc{this,
          "rewards [N]: is what stands in the last \\boxed{...} the true answer? Braces nest; a "
          "box that "
          "never closes (a cut answer) is missing. A row without a true answer cannot be scored."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    const auto& wanted = truths(c, step[truth]);
    RowScores scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string_view truth_text = last_boxed(wanted[i]).value_or(wanted[i]);
      if (stripped(truth_text).empty()) {
        scores.fail(step, i, "there is no true answer");
        continue;
      }
      const auto given = last_boxed(texts[i]);
      scores.set(i, !given ? missing() : is_right(*given, truth_text) ? right() : wrong());
    }
    step[rewards] = scored(step, c, scores.scores(), scores.absent());
  }

 private:
  bool is_right(std::string_view given, std::string_view wanted) const {
    const std::string a = plain_latex(given), b = plain_latex(wanted);
    if (a == b) return true;
    if (compare() == BoxCompare::text) return false;
    const auto x = number_in(given, a);
    const auto y = number_in(wanted, b);
    return x && y && numerically_equal(*x, *y, {relative(), absolute(), percent()});
  }
  /// Spaces mean something in 1 1/2, so the text itself is tried first.
  static std::optional<WrittenNumber> number_in(std::string_view text, std::string_view plain) {
    const auto number = read_number(text);
    return number ? number : read_number(plain);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(BoxedAnswer, "Boxed answer", "arXiv:2103.03874")
