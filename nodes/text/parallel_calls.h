// A loop whose calls may run at the same time.
#pragma once
#include <cstddef>
#include <functional>

namespace rewardloom {

/// Calls the function with 0..count-1, possibly several at once.
using ParallelCalls = std::function<void(std::size_t, const std::function<void(std::size_t)>&)>;

}  // namespace rewardloom
