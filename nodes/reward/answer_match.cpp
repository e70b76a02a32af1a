#include "nodes/reward/answer_match.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <limits>
#include <optional>
#include <vector>

#include "nodes/reward/text_parts.h"

namespace rewardloom {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  while (!(text = stripped(text)).empty()) {
    const std::size_t end = std::min(text.find_first_of(" \t\r\n\f\v"), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

struct PlainNumber {
  double value = 0;
  /// Of a whole number written in digits: its sign and digits, without zeros in front.
  std::optional<std::string> whole;

  bool operator==(const PlainNumber& other) const {
    return whole && other.whole ? *whole == *other.whole : value == other.value;
  }
};

/// -007.00 is -7; nullopt for anything that is not whole or has an exponent.
std::optional<std::string> whole_digits(std::string_view text) {
  const bool minus = text.starts_with('-');
  if (minus) text.remove_prefix(1);
  const std::size_t point = std::min(text.find('.'), text.size());
  const bool fraction = text.find_first_not_of('0', point + 1) != std::string_view::npos;
  std::string_view digits = text.substr(0, point);
  if (fraction || digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) {
    return std::nullopt;
  }
  digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
  if (digits.empty()) return "0";
  return (minus ? "-" : "") + std::string(digits);
}

std::optional<PlainNumber> number(std::string_view text) {
  text = stripped(text);
  if (text.starts_with('+')) text.remove_prefix(1);
  const std::string_view unsigned_text = text.substr(text.starts_with('-') ? 1 : 0);
  const bool commas = text.find(',') != std::string_view::npos;
  if (text.empty() || (commas && !is_grouped(unsigned_text))) return std::nullopt;
  std::string plain;
  std::copy_if(text.begin(), text.end(), std::back_inserter(plain),
               [](char c) { return c != ','; });
  PlainNumber out{0, whole_digits(plain)};
  const char* const last = plain.data() + plain.size();
  const auto [end, error] = std::from_chars(plain.data(), last, out.value);
  const bool read = error == std::errc() && end == last && !std::isnan(out.value);
  if (!read && !out.whole) return std::nullopt;
  // Beyond the range of a double, a whole number is still known by its digits.
  if (!read) out.value = std::numeric_limits<double>::quiet_NaN();
  return out;
}

std::string last_number(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 &&
         (is_digit(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == ',')) {
    --begin;
  }
  begin += last_listed(text.substr(begin, end - begin));
  while (begin < end && !is_digit(text[begin])) ++begin;
  const bool sign =
      begin > 0 && text[begin - 1] == '-' && (begin == 1 || !is_digit(text[begin - 2]));
  return std::string(text.substr(sign ? begin - 1 : begin, end - begin + (sign ? 1 : 0)));
}

}  // namespace

std::string extracted(std::string_view answer, Extract extract) {
  switch (extract) {
    case Extract::first_line: return std::string(answer.substr(0, answer.find_first_of("\r\n")));
    case Extract::last_number: return last_number(answer);
    case Extract::whole: break;
  }
  return std::string(answer);
}

bool matches(std::string_view answer, std::string_view reference, const MatchOptions& options) {
  std::string given = extracted(answer, options.extract);
  std::string wanted(reference);
  if (options.ignore_case) {
    given = lowered(given);
    wanted = lowered(wanted);
  }
  if (options.compare == Compare::words) return words(given) == words(wanted);
  if (options.compare == Compare::number) {
    const auto a = number(given);
    const auto b = number(wanted);
    if (a && b) return *a == *b;
  }
  return options.strip ? stripped(given) == stripped(wanted) : given == wanted;
}

}  // namespace rewardloom
