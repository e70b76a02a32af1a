#include "nodes/reward/answer_match.h"

#include <charconv>
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

/// Whether commas stand only before groups of three digits.
bool has_fair_commas(std::string_view text) {
  for (std::size_t i = text.find(','); i != std::string_view::npos; i = text.find(',', i + 1)) {
    std::size_t digits = 0;
    while (i + 1 + digits < text.size() && is_digit(text[i + 1 + digits])) ++digits;
    if (i == 0 || !is_digit(text[i - 1]) || digits != 3) return false;
  }
  return true;
}

std::optional<double> number(std::string_view text) {
  text = stripped(text);
  if (text.empty() || !has_fair_commas(text)) return std::nullopt;
  std::string plain;
  for (const char c : text) {
    if (c != ',') plain += c;
  }
  const char* first = plain.data();
  const char* const last = first + plain.size();
  if (*first == '+') ++first;
  double value = 0;
  const auto [end, error] = std::from_chars(first, last, value);
  if (error != std::errc() || end != last) return std::nullopt;
  return value;
}

std::string last_number(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  std::size_t begin = end;
  while (begin > 0 &&
         (is_digit(text[begin - 1]) || text[begin - 1] == '.' || text[begin - 1] == ',')) {
    --begin;
  }
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
