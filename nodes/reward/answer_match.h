// When an answer counts as the right one. Plain text rules, shared by reward.exact_match and
// eval.accuracy.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "engine/core/node.h"

namespace rewardloom {

enum class Compare { text, words, number };
constexpr auto choices(Compare) {
  return std::to_array<Choice<Compare>>({
      {Compare::text, "text", "character by character"},
      {Compare::words, "words", "word by word: how they are spaced does not count"},
      {Compare::number, "number", "as numbers: 7, 7.0, +7 and 1,000 = 1000; else as text"},
  });
}

enum class Extract { whole, first_line, last_number };
constexpr auto choices(Extract) {
  return std::to_array<Choice<Extract>>({
      {Extract::whole, "whole", "the whole answer"},
      {Extract::first_line, "first_line", "the answer up to its first line break"},
      {Extract::last_number, "last_number", "the last number that stands in the answer"},
  });
}

struct MatchOptions {
  bool strip = true;
  bool ignore_case = false;
  Compare compare = Compare::text;
  Extract extract = Extract::whole;
};

/// The part of the answer that is judged; empty if there is none.
std::string extracted(std::string_view answer, Extract extract);
bool matches(std::string_view answer, std::string_view reference, const MatchOptions& options);

/// The parameters of `matches` as members of a node.
struct MatchParams {
  explicit MatchParams(Node* node)
      : strip_(node, "strip", true, "white space around answer and reference does not count"),
        ignore_case_(node, "ignore_case", false, "a-z and A-Z are the same"),
        compare_(node, "compare", Compare::text, "how answer and reference are compared"),
        extract_(node, "extract", Extract::whole, "which part of the answer is judged") {}
  MatchOptions operator()() const { return {strip_(), ignore_case_(), compare_(), extract_()}; }

 private:
  Param<bool> strip_;
  Param<bool> ignore_case_;
  Param<Compare> compare_;
  Param<Extract> extract_;
};

}  // namespace rewardloom
