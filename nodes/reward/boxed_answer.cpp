#include "nodes/reward/boxed_answer.h"

#include <algorithm>
#include <cctype>

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

bool is_letter(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; }

/// Whether the text ends with a command of letters, such as \pi.
bool ends_with_command(std::string_view text) {
  std::size_t name = text.size();
  while (name > 0 && is_letter(text[name - 1])) --name;
  std::size_t slashes = 0;
  while (slashes < name && text[name - 1 - slashes] == '\\') ++slashes;
  return name < text.size() && slashes % 2 == 1;
}

/// A formula token by token, as TeX reads it: a command, a group in braces or a single character.
class LatexReader {
 public:
  explicit LatexReader(std::string_view text, int depth = 0) : rest_(text), depth_(depth) {}

  /// All tokens without what does not change the meaning.
  std::string read() {
    std::string out;
    while (!(rest_ = stripped(rest_)).empty()) {
      const std::string next = token();
      // A space ends a command: \pi r is not \pir.
      if (!next.empty() && is_letter(next.front()) && ends_with_command(out)) out += ' ';
      out += next;
    }
    return out;
  }
  /// How many tokens were written.
  std::size_t count() const { return count_; }

 private:
  static constexpr int kDeepest = 64;

  std::string token() {
    if (rest_.front() == '{' && depth_ < kDeepest && !open_) return group();
    if (rest_.front() == '\\' && rest_.size() > 1) return command();
    std::size_t size = 1;  // of a character in UTF-8
    while (size < rest_.size() && (static_cast<unsigned char>(rest_[size]) & 0xc0) == 0x80) ++size;
    const std::string_view one = take(size);
    if (one == "$" || (one == "^" && eat_degree())) return "";
    return written(one);
  }

  /// Braces around a single token say nothing: x^{2} is x^2, \sqrt{2} is \sqrt2.
  std::string group() {
    const auto inner = braced(rest_.substr(1));
    if (!inner) {
      open_ = true;
      return written(take(1));
    }
    take(inner->size() + 2);
    LatexReader inside(*inner, depth_ + 1);
    const std::string text = inside.read();
    return written(inside.count() == 1 ? text : "{" + text + "}");
  }

  std::string command() {
    std::size_t size = 1;
    while (size < rest_.size() && is_letter(rest_[size])) ++size;
    const std::string_view name = take(std::max<std::size_t>(size, 2));
    for (const std::string_view nothing :
         {"\\left", "\\right", "\\$", "\\!", "\\,", "\\;", "\\ "}) {
      if (name == nothing) return "";
    }
    if (name == "\\dfrac" || name == "\\tfrac") return written("\\frac");
    if (name == "\\%") return written("%");
    for (const std::string_view wrapper : {"\\text", "\\mathrm", "\\textbf", "\\mbox"}) {
      if (name == wrapper) return unwrapped(name);
    }
    return written(name);
  }

  /// \text{m} and \mathrm{m} are m.
  std::string unwrapped(std::string_view name) {
    const bool group = rest_.starts_with('{') && depth_ < kDeepest && !open_;
    const auto inner = group ? braced(rest_.substr(1)) : std::nullopt;
    if (!inner) return written(name);
    take(inner->size() + 2);
    LatexReader inside(*inner, depth_ + 1);
    std::string text = inside.read();
    count_ += inside.count();
    return text;
  }

  /// The rest of ^\circ or ^{\circ}.
  bool eat_degree() {
    for (const std::string_view degree : {"{\\circ}", "\\circ"}) {
      if (!rest_.starts_with(degree)) continue;
      const bool command = degree.back() == 'c';
      if (command && rest_.size() > degree.size() && is_letter(rest_[degree.size()])) {
        continue;
      }
      take(degree.size());
      return true;
    }
    return false;
  }

  std::string_view take(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return taken;
  }
  std::string written(std::string_view text) {
    ++count_;
    return std::string(text);
  }

  std::string_view rest_;
  int depth_;
  bool open_ = false;  // a brace that nothing closes: later ones are taken as they stand
  std::size_t count_ = 0;
};

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
  return LatexReader(rest).read();
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
          "never closes (a cut answer) is missing. A row without a true answer cannot be scored.\n"
          "Formulas are compared token by token: spaces, $, \\left, \\right, \\text{..} around "
          "words, degree signs and braces around a single token do not count (\\sqrt2 is "
          "\\sqrt{2}), \\dfrac is \\frac. x = 5 is not 5, and 5 cm is not 5."};

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
