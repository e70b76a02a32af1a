// Paths of nodes in a graph, such as "stage/race/shape[mode=raw]/update". No LibTorch.
#pragma once
#include <string>
#include <string_view>

namespace rewardloom {

/// A path without the branches of sweeps: "sweep[seed=1]/update" -> "sweep/update".
std::string without_branches(std::string_view path);

}  // namespace rewardloom
