// Whether an answer has the demanded layout.
#pragma once
#include <array>
#include <string_view>

#include "engine/core/node.h"

namespace rewardloom {

enum class Layout { think_answer_strict, think_answer, answer_only, reasoning_code };
constexpr auto choices(Layout) {
  return std::to_array<Choice<Layout>>({
      {Layout::think_answer_strict, "think_answer_strict",
       "<think>..</think><answer>..</answer>, nothing around or between, each block once "
       "(R1-Reward)"},
      {Layout::think_answer, "think_answer",
       "begins with <think>; each of the four tags once, in order; text after is allowed (RLPR)"},
      {Layout::answer_only, "answer_only", "<answer> and </answer> once, in order (RLPR)"},
      {Layout::reasoning_code, "reasoning_code",
       "<reasoning> that is not empty, then a Python block that is not empty (UTRL)"},
  });
}

/// Whether the text has the layout.
bool has_layout(std::string_view text, Layout layout);

}  // namespace rewardloom
