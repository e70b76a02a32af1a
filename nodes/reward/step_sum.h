// The exact verdict on sums that are worked out line by line.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace rewardloom {

/// For each line that is not blank: 1 as long as all lines so far are partial sums of `numbers` in
/// order, then = and the sum, or say ok; 0 from the first that is not.
std::vector<double> right_so_far(const std::vector<std::int64_t>& numbers, std::string_view text);

}  // namespace rewardloom
