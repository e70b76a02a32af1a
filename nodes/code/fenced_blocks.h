// Programs and test cases in what a model wrote.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

/// The last block fenced as `language` in a text, without white space around it; what stands before
/// the next fence where the closing one is missing; a text without such a fence up to its first
/// fence.
std::string extract_program(std::string_view text, std::string_view language);

struct IoCase {
  std::string input;
  std::string output;
};

/// Cases of the form ```...Input:\n...\nOutput:\n...``` in order, fields without white space around
/// them. A block that is not closed or lacks a part gives none.
std::vector<IoCase> parse_io_cases(std::string_view text);

/// "input = output , input = output": parts that do not hold one = with something on both sides
/// give nothing.
std::vector<IoCase> parse_pair_cases(std::string_view text);

}  // namespace rewardloom
