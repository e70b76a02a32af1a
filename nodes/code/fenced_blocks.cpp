#include "nodes/code/fenced_blocks.h"

#include <algorithm>

namespace rewardloom {
namespace {

constexpr std::string_view kFence = "```";
constexpr std::string_view kSpace = " \t\r\n\v\f";

std::string stripped(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kSpace) - first + 1));
}

}  // namespace

std::string extract_program(std::string_view text, std::string_view language) {
  const std::string opening = std::string(kFence) + std::string(language);
  const std::size_t last = text.rfind(opening);
  if (last != std::string_view::npos) text.remove_prefix(last + opening.size());
  return stripped(text.substr(0, text.find(kFence)));
}

std::vector<IoCase> parse_io_cases(std::string_view text) {
  constexpr std::string_view kInput = "Input:\n", kOutput = "\nOutput:\n";
  std::vector<IoCase> cases;
  std::size_t at = 0;
  while ((at = text.find(kFence, at)) != std::string_view::npos) {
    std::size_t input = text.find(kInput, at + kFence.size());
    if (input == std::string_view::npos) break;
    input += kInput.size();
    const std::size_t middle = text.find(kOutput, input);
    if (middle == std::string_view::npos) break;
    const std::size_t output = middle + kOutput.size();
    const std::size_t end = text.find(kFence, output);
    if (end == std::string_view::npos) break;
    cases.push_back({stripped(text.substr(input, middle - input)),
                     stripped(text.substr(output, end - output))});
    at = end + kFence.size();
  }
  return cases;
}

std::vector<IoCase> parse_pair_cases(std::string_view text) {
  std::vector<IoCase> cases;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    const std::size_t equal = part.find('=');
    if (equal == std::string_view::npos || part.find('=', equal + 1) != std::string_view::npos) {
      continue;
    }
    IoCase one{stripped(part.substr(0, equal)), stripped(part.substr(equal + 1))};
    if (!one.input.empty() && !one.output.empty()) cases.push_back(std::move(one));
  }
  return cases;
}

}  // namespace rewardloom
