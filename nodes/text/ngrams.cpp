#include "nodes/text/ngrams.h"

#include <map>
#include <vector>

namespace rewardloom {
namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  std::vector<std::string_view> words;
  std::size_t at = text.find_first_not_of(kSpace);
  while (at != std::string_view::npos) {
    const std::size_t end = text.find_first_of(kSpace, at);
    words.push_back(text.substr(at, end == std::string_view::npos ? end : end - at));
    if (end == std::string_view::npos) break;
    at = text.find_first_not_of(kSpace, end);
  }
  return words;
}

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

double ngram_repetition(std::string_view text, std::int64_t n) {
  const std::vector<std::string_view> words = words_of(text);
  const auto width = static_cast<std::size_t>(n);
  if (words.size() < width) return 0;
  const std::size_t total = words.size() - width + 1;
  std::map<std::vector<std::string_view>, int> seen;
  std::size_t repeated = 0;
  for (std::size_t i = 0; i < total; ++i) {
    const auto first = words.begin() + static_cast<std::ptrdiff_t>(i);
    repeated += ++seen[{first, first + n}] == 2;
  }
  return static_cast<double>(repeated) / static_cast<double>(total);
}

std::string head_and_tail(const std::string& text, std::int64_t most, std::int64_t head,
                          std::int64_t tail) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (begins_character(text[i])) starts.push_back(i);
  }
  const auto count = static_cast<std::int64_t>(starts.size());
  if (count <= most) return text;
  const auto byte_of = [&](std::int64_t c) {
    return c >= count ? text.size() : starts[static_cast<std::size_t>(c)];
  };
  return text.substr(0, byte_of(head)) +
         text.substr(byte_of(std::max<std::int64_t>(count - tail, 0)));
}

}  // namespace rewardloom
