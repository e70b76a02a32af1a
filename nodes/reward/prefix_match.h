// Dense credit for the part of an answer that is right from its start.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class EndCredit { none, if_complete, repeat_last };
constexpr auto choices(EndCredit) {
  return std::to_array<Choice<EndCredit>>({
      {EndCredit::none, "none", "nothing; each of L characters earns 1/L"},
      {EndCredit::if_complete, "if_complete",
       "one more share if the answer is right as a whole; each of L characters earns 1/(L+1)"},
      {EndCredit::repeat_last, "repeat_last",
       "what the last character earned, again for every token; each of L earns 1/(L+1)"},
  });
}

struct PrefixCredit {
  std::vector<double> characters;  ///< credit of each character of the answer
  double after = 0;                ///< credit of each token after the text (the end token)
};

/// Each character that matches the reference, counted from the start and up to the first mismatch,
/// earns one share of 1 (see EndCredit). An empty answer to an empty reference earns 1 after the
/// text.
PrefixCredit prefix_credit(const std::vector<char32_t>& answer,
                           const std::vector<char32_t>& reference, EndCredit end);

}  // namespace rewardloom
