// Functions that squash many numbers at once, within a few units in the last place.
#pragma once
#include <cstdint>

namespace rewardloom {

/// x -> 1 / (1 + e^-x) in place; 0 below -708.
void sigmoid_of(double* x, std::int64_t count);
/// x -> tanh x in place.
void tanh_of(double* x, std::int64_t count);

/// shaped = 1 / (1 + e^-(k r)) and change = shaped - r, of `count` rewards r.
void sigmoid_of_rewards(const double* rewards, double k, double* shaped, double* change,
                        std::int64_t count);
/// shaped = tanh r and change = shaped - r.
void tanh_of_rewards(const double* rewards, double* shaped, double* change, std::int64_t count);

}  // namespace rewardloom
