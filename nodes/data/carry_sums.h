// Sums whose demonstrations answer at once, mostly wrong, or work out the carry, mostly right.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "nodes/data/padded_sums.h"

namespace rewardloom {

/// What a demonstration looks like. Each step, check and the answer of a worked one opens with
/// another of the markers: 37+8 gives "first 7+8=15 then 3+1=4 so 45".
struct CarryAnswerSpread {
  std::vector<std::string> markers;  ///< at least 3 + most_checks
  std::int64_t most_checks = 2;      ///< steps that are written again, 0 .. most_checks
  double worked_share = 0.2;         ///< the others are the answer alone
  double worked_right = 0.85;
  double direct_right = 0.25;
};

/// The two steps of the sum: ones, then tens with the carry. 37+8 gives {"7+8=15", "3+1=4"}.
std::vector<std::string> carry_steps(const PaddedSum& sum);

/// One demonstration; a wrong one misses the sum by 1 .. 9, its steps are right all the same.
std::string draw_carry_answer(const PaddedSum& sum, const CarryAnswerSpread& spread, Random random);

}  // namespace rewardloom
