// Relative progress between two frames of a demonstration. Robo-Dopamine, arXiv:2512.23703.
#pragma once
#include <cstdint>

namespace rewardloom {

/// Percent: of the remaining way (last - before) if the frames go forward, of the way come so far
/// (before - first) if they go back; 0 for the same frame. Needs first <= before, after <= last.
double hop_percent(std::int64_t before, std::int64_t after, std::int64_t first, std::int64_t last);
/// Which of `bins` equal bins of -100..100 the percentage falls into.
std::int64_t hop_bin(double percent, std::int64_t bins);

}  // namespace rewardloom
