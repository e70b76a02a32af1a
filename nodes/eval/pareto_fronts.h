// Non-dominated sorting of two objectives.
#pragma once
#include <cstdint>
#include <vector>

namespace rewardloom {

/// The front of each point (a[i], b[i]), both to be maximised: 0 if no point is at least as good in
/// both and better in one, else one more than the highest front of those that are. Equal points
/// share a front. O(N log N).
std::vector<std::int64_t> pareto_fronts(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace rewardloom
