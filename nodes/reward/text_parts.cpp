#include "nodes/reward/text_parts.h"

#include <algorithm>

#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {
constexpr std::string_view kSpace = " \t\r\n\f\v";
}  // namespace

std::string_view stripped(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::size_t occurrences(std::string_view text, std::string_view part) {
  if (part.empty()) return 0;
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

bool is_grouped(std::string_view digits) {
  const std::size_t first = digits.find_first_not_of("0123456789");
  if (first == std::string_view::npos || first == 0 || first > 3) return false;
  digits.remove_prefix(first);
  while (digits.starts_with(',')) {
    const std::size_t end = std::min(digits.find_first_not_of("0123456789", 1), digits.size());
    if (end != 4) return false;
    digits.remove_prefix(end);
  }
  return digits.find(',') == std::string_view::npos;
}

std::size_t last_listed(std::string_view run) {
  bool list = false;
  std::string_view rest = run;
  while (true) {  // 1,000/3: each side of a fraction is a number
    const std::string_view number = rest.substr(0, rest.find('/'));
    list = list || (number.find(',') != std::string_view::npos && !is_grouped(number));
    if (number.size() == rest.size()) break;
    rest.remove_prefix(number.size() + 1);
  }
  return list ? run.rfind(',') + 1 : 0;
}

std::size_t word_count(std::string_view text) {
  std::size_t count = 0;
  while (!(text = stripped(text)).empty()) {
    ++count;
    text.remove_prefix(std::min(text.find_first_of(kSpace), text.size()));
  }
  return count;
}

std::string_view tail_of(std::string_view text, std::size_t count) {
  std::size_t begin = text.size();
  while (begin > 0 && count > 0) {
    --begin;
    if ((static_cast<unsigned char>(text[begin]) & 0xc0) != 0x80) --count;
  }
  return text.substr(begin);
}

const std::vector<std::string>& truths(const Completions& completions, const TextRows* given) {
  if (given == nullptr) return references(completions);
  require_same_rows("completions", completions.rows(), completions.batch, "the true answers",
                    static_cast<std::int64_t>(given->texts.size()), given->batch);
  return given->texts;
}

}  // namespace rewardloom
