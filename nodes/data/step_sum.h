// Sums that are worked out line by line, with a line that says nothing.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/random.h"

namespace rewardloom {

/// Sums of `fewest` to `most` numbers, each of low .. high.
struct StepSumSpace {
  std::int64_t low = 1;
  std::int64_t high = 9;
  std::int64_t fewest = 3;
  std::int64_t most = 4;
  double held_out_share = 0.2;

  /// Whether the sum belongs to the held-out subset: by a hash of its numbers in ascending order,
  /// so that neither the seed nor their order matters.
  bool is_held_out(std::vector<std::int64_t> numbers) const;
  /// How many numbers, and then each of them, is uniform over the subset.
  std::vector<std::int64_t> draw(Random random, bool held_out) const;
};

/// One partial sum per line, then = and the sum: 3+5+9 gives "8\n17\n=17". `idle[k]` lines "ok"
/// stand before line k; missing entries are 0.
std::string step_sum_solution(const std::vector<std::int64_t>& numbers,
                              const std::vector<std::int64_t>& idle);

/// How many of `count` idle lines stand before each of `lines` lines, all equally likely. [lines]
std::vector<std::int64_t> draw_idle_lines(std::int64_t lines, std::int64_t count, Random random);

}  // namespace rewardloom
