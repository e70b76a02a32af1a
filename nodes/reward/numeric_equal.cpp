#include "nodes/reward/numeric_equal.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <string>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool eat(std::string_view& text, std::string_view part) {
  if (!text.starts_with(part)) return false;
  text.remove_prefix(part.size());
  return true;
}

bool eat_end(std::string_view& text, std::string_view part) {
  if (!text.ends_with(part)) return false;
  text.remove_suffix(part.size());
  return true;
}

/// The sign, minus as a hyphen or as its own character; true for minus.
bool eat_sign(std::string_view& text) {
  if (eat(text, "-") || eat(text, "\u2212")) {
    text = stripped(text);
    return true;
  }
  if (eat(text, "+")) text = stripped(text);
  return false;
}

void eat_currency(std::string_view& text) {
  for (const std::string_view sign : {"\\$", "$", "\u20ac", "\u00a3", "\u00a5"}) {
    if (eat(text, sign)) text = stripped(text);
  }
}

/// Digits in groups: 1,000,000 or 1 000 000, never 1,00. Moves past them; false if there are none.
bool eat_digits(std::string_view& text, std::string& digits) {
  std::size_t run = 0;
  while (run < text.size() && is_digit(text[run])) ++run;
  if (run == 0) return false;
  digits.append(text.substr(0, run));
  text.remove_prefix(run);
  const auto group = [&](char separator) {
    return text.size() >= 4 && text[0] == separator && is_digit(text[1]) && is_digit(text[2]) &&
           is_digit(text[3]) && (text.size() == 4 || !is_digit(text[4]));
  };
  if (run > 3 || (!group(',') && !group(' '))) return true;
  for (const char separator = text[0]; group(separator);) {
    digits.append(text.substr(1, 3));
    text.remove_prefix(4);
  }
  return true;
}

/// 12, 12.5, .5, 1,000.25, 1e-3
std::optional<double> eat_decimal(std::string_view& text) {
  std::string plain;
  std::string_view rest = text;
  bool any = eat_digits(rest, plain);
  if (rest.size() > 1 && rest[0] == '.' && is_digit(rest[1])) {
    plain += '.';
    rest.remove_prefix(1);
    while (!rest.empty() && is_digit(rest[0])) {
      plain += rest[0];
      rest.remove_prefix(1);
    }
    any = true;
  }
  if (!any) return std::nullopt;
  std::size_t sign = rest.size() > 1 && (rest[1] == '-' || rest[1] == '+') ? 1 : 0;
  if (!rest.empty() && (rest[0] == 'e' || rest[0] == 'E') && rest.size() > sign + 1 &&
      is_digit(rest[sign + 1])) {
    std::size_t end = sign + 1;
    while (end < rest.size() && is_digit(rest[end])) ++end;
    plain += 'e';
    if (sign == 1 && rest[1] == '-') plain += '-';
    plain.append(rest.substr(sign + 1, end - sign - 1));
    rest.remove_prefix(end);
  }
  double value = 0;
  const auto [end, error] = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (error != std::errc() || end != plain.data() + plain.size()) return std::nullopt;
  text = rest;
  return value;
}

/// \frac{a}{b}, also \dfrac, \tfrac and \frac12.
std::optional<double> eat_latex_fraction(std::string_view& text) {
  if (!eat(text, "\\frac") && !eat(text, "\\dfrac") && !eat(text, "\\tfrac")) return std::nullopt;
  double parts[2] = {};
  for (double& part : parts) {
    text = stripped(text);
    if (eat(text, "{")) {
      text = stripped(text);
      const bool minus = eat_sign(text);
      const std::optional<double> value = eat_decimal(text);
      text = stripped(text);
      if (!value || !eat(text, "}")) return std::nullopt;
      part = minus ? -*value : *value;
    } else if (!text.empty() && is_digit(text[0])) {
      part = text[0] - '0';
      text.remove_prefix(1);
    } else {
      return std::nullopt;
    }
  }
  if (parts[1] == 0) return std::nullopt;
  return parts[0] / parts[1];
}

/// What stands behind a first number: nothing, "/ b" or, for mixed numbers, "a/b" and \frac{a}{b}.
std::optional<double> with_fraction(double value, std::string_view& text) {
  std::string_view rest = stripped(text);
  if (eat(rest, "/")) {
    rest = stripped(rest);
    const bool minus = eat_sign(rest);
    const std::optional<double> below = eat_decimal(rest);
    if (!below || *below == 0) return std::nullopt;
    text = rest;
    return value / (minus ? -*below : *below);
  }
  if (rest.starts_with("\\")) {
    if (rest.starts_with("\\%")) return value;
    const std::optional<double> part = eat_latex_fraction(rest);
    if (!part) return std::nullopt;
    text = rest;
    return value + *part;
  }
  if (rest.size() == text.size() || rest.empty() || !is_digit(rest[0])) return value;
  const std::optional<double> above = eat_decimal(rest);
  rest = stripped(rest);
  if (!above || !eat(rest, "/")) return std::nullopt;
  rest = stripped(rest);
  const std::optional<double> below = eat_decimal(rest);
  if (!below || *below == 0) return std::nullopt;
  text = rest;
  return value + *above / *below;
}

}  // namespace

std::optional<WrittenNumber> read_number(std::string_view text) {
  text = stripped(text);
  while (text.size() > 1 && text.front() == '$' && text.back() == '$') {
    text = stripped(text.substr(1, text.size() - 2));
  }
  eat_end(text, ".");
  WrittenNumber number;
  number.percent = eat_end(text, "\\%") || eat_end(text, "%");
  text = stripped(text);
  bool minus = eat_sign(text);
  eat_currency(text);
  minus = eat_sign(text) != minus;
  std::optional<double> value;
  if (text.starts_with("\\")) {
    value = eat_latex_fraction(text);
  } else if ((value = eat_decimal(text))) {
    value = with_fraction(*value, text);
  }
  if (!value || !stripped(text).empty() || !std::isfinite(*value)) return std::nullopt;
  number.value = minus ? -*value : *value;
  return number;
}

std::string_view last_number_in(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    while (end > 0 && !is_digit(text[end - 1])) --end;
    std::size_t first = end;
    while (first > 0 && (is_digit(text[first - 1]) || text[first - 1] == '.' ||
                         text[first - 1] == ',' || text[first - 1] == '/')) {
      --first;
    }
    first += last_listed(text.substr(first, end - first));
    while (first < end && !is_digit(text[first]) && text[first] != '.') ++first;
    if (first == end) return {};
    std::size_t last = end;
    if (text.substr(last).starts_with("\\%")) last += 2;
    if (text.substr(last).starts_with("%")) last += 1;
    const std::string_view before = text.substr(0, first);
    const bool hyphen = before.ends_with('-');
    const bool word_before =
        hyphen && before.size() > 1 &&
        (is_digit(before[before.size() - 2]) ||
         std::isalpha(static_cast<unsigned char>(before[before.size() - 2])) != 0);
    if (hyphen && !word_before) --first;
    if (before.ends_with("\u2212")) first -= 3;
    const std::string_view found = text.substr(first, last - first);
    if (read_number(found)) return found;
    end = first;  // such as 1.2.3: no number
  }
  return {};
}

bool numerically_equal(const WrittenNumber& given, const WrittenNumber& wanted,
                       const NumericTolerance& tolerance) {
  const auto near = [&](double a, double b) {
    return std::abs(a - b) <= tolerance.absolute + tolerance.relative * std::abs(b);
  };
  const auto value = [](const WrittenNumber& x, bool as_fraction) {
    return x.percent && as_fraction ? x.value / 100 : x.value;
  };
  switch (tolerance.percent) {
    case Percent::plain: return near(given.value, wanted.value);
    case Percent::either:
      if (near(given.value, wanted.value)) return true;
      break;
    case Percent::fraction: break;
  }
  return near(value(given, true), value(wanted, true));
}

namespace {

enum class NumberPlace { whole, first_line, last };
constexpr auto choices(NumberPlace) {
  return std::to_array<Choice<NumberPlace>>({
      {NumberPlace::whole, "whole", "the whole answer is the number"},
      {NumberPlace::first_line, "first_line", "the answer up to its first line break"},
      {NumberPlace::last, "last", "the last number that stands in the answer"},
  });
}

}  // namespace

struct NumericEqual final : Node {
  Input<Completions> completions{this, "completions", "the answers"};
  Optional<TextRows> truth{this, "truth", "the true answers; else the completions' references"};
  Output<Rewards> rewards{this, "rewards", "`right` where the numbers are equal, else `wrong`"};
  Param<NumberPlace> extract{this, "extract", NumberPlace::last,
                             "which part of the answer is read"};
  Param<double> relative{this, "relative_tolerance", 1e-6, "times the true number", {.min = 0}};
  Param<double> absolute{this, "absolute_tolerance", 1e-9, "and this much besides", {.min = 0}};
  Param<Percent> percent{this, "percent", Percent::fraction, "what a percent sign means"};
  Param<double> right{this, "right", 1.0, "reward of a right answer"};
  Param<double> wrong{this, "wrong", 0.0, "reward of a wrong one, or of no number"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"number", "accuracy", "math", "tolerance", "verifiable reward"}};
  Doc doc{
      this,
      "rewards [N]: |answer - truth| <= absolute + relative * |truth|. Reads 1,000, 3/4, 1 1/2, "
      "\\frac{3}{4}, 1e-3, $5, 50%. Of the truth the last number counts, if it is not one as a "
      "whole; a row whose truth holds none cannot be scored.\n"
      "Where the last number is looked for, commas before groups of exactly three digits, after "
      "one to three digits, are those of thousands: 1,234 and (1,234,567). All others separate "
      "the numbers of a list: the last one of (3,4), 1,2,3 and 0.5,0.25 is 4, 3 and 0.25."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const auto& texts = answers(c);
    const auto& wanted = truths(c, step[truth]);
    RowScores scores(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::optional<WrittenNumber> right_number = read_number(wanted[i]);
      if (!right_number) right_number = read_number(last_number_in(wanted[i]));
      if (!right_number) {
        scores.fail(step, i, fmt::format("the true answer \"{}\" holds no number", wanted[i]));
        continue;
      }
      const std::optional<WrittenNumber> given = read_number(part_of(texts[i]));
      const bool equal =
          given && numerically_equal(*given, *right_number, {relative(), absolute(), percent()});
      scores.set(i, equal ? right() : wrong());
    }
    step[rewards] = scored(step, c, scores.scores(), scores.absent());
  }

 private:
  std::string_view part_of(std::string_view text) const {
    switch (extract()) {
      case NumberPlace::first_line: return text.substr(0, text.find_first_of("\r\n"));
      case NumberPlace::last: return read_number(text) ? text : last_number_in(text);
      case NumberPlace::whole: break;
    }
    return text;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(NumericEqual, "Numeric equality", "")
