// Format and correctness of tool calls against a true answer.
// Qian et al. 2025, "ToolRL: Reward is All Tool Learning Needs", arXiv:2504.13958.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/node.h"

namespace rewardloom {

enum class ToolScale { fixed, max1, two_stage, schedule };
constexpr auto choices(ToolScale) {
  return std::to_array<Choice<ToolScale>>({
      {ToolScale::fixed, "fixed", "format 0..1, correctness -3..3"},
      {ToolScale::max1, "max1", "format 0..1, correctness -1..1"},
      {ToolScale::two_stage, "two_stage",
       "as max1 before step 30; then format 0..0.5, correctness -3..3"},
      {ToolScale::schedule, "schedule",
       "over 150 steps format from +-2 to +-1, correctness from +-2 to +-3"},
  });
}

enum class ToolMatch { partial, refined, intermediate, coarse };
constexpr auto choices(ToolMatch) {
  return std::to_array<Choice<ToolMatch>>({
      {ToolMatch::partial, "partial", "shares of equal names, parameter names and values"},
      {ToolMatch::refined, "refined",
       "names and parameter names count only if the lists are equal"},
      {ToolMatch::intermediate, "intermediate", "a call counts only if it is equal as a whole"},
      {ToolMatch::coarse, "coarse", "all calls equal, or the lowest reward"},
  });
}

struct RewardRange {
  double low = 0;
  double high = 1;
};
struct ToolRanges {
  RewardRange format;
  RewardRange correctness;
};
ToolRanges tool_ranges(ToolScale scale, std::int64_t step);

/// One call: {"name": ..., "parameters": {...}}.
using ToolCalls = std::vector<Json>;

/// The calls between <tool_call> and </tool_call>, one JSON object a line; nullopt where the tags
/// are missing or a line is no JSON.
std::optional<ToolCalls> tool_calls(std::string_view text);

/// Share of list elements that agree: multiset intersection over union; 1 for equal lists, 0 if one
/// is empty.
double list_overlap(const std::vector<std::string>& a, const std::vector<std::string>& b);

/// How well the predicted calls agree with the true ones, in `range`. True calls are matched in
/// their order with the best unused call of the same name; a call that scores 0 is not matched.
/// nullopt if a predicted call lacks what is compared (a name, or an object of parameters).
std::optional<double> tool_correctness(const ToolCalls& truth, const ToolCalls& predicted,
                                       ToolMatch match, const RewardRange& range);

/// Whether the text has the blocks that the true answer has, each once and in order.
bool has_tool_layout(std::string_view text, std::string_view truth);

/// min(1, words inside <think> / target), rounded to two digits; 0 without the tags.
double think_length(std::string_view text, double target);

}  // namespace rewardloom
