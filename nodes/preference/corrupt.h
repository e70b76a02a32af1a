// Right answers made wrong by a program.
#pragma once
#include <cstdint>
#include <string>

#include "engine/core/random.h"

namespace rewardloom {

/// How often each way is taken; sum above 0.
struct CorruptionWeights {
  double wrong_answer = 0.5;  ///< the last number becomes another
  double drop_answer = 0.5;   ///< the last number's digits are replaced by the filler
  double wrong_steps = 0;     ///< the numbers from a random one on become others
};

struct Corruption {
  CorruptionWeights weights;
  std::int64_t distance = 9;  ///< other numbers lie 1 .. distance away, with as many digits
  std::string filler;         ///< per digit; empty: the digits are left out
};

/// One attempt; a text without a number comes back as it is.
std::string corrupted(const std::string& text, const Corruption& corruption, Random random);

/// Whether the last number of `text` is the one that `reference` ends with, or the texts are equal.
bool is_same_answer(const std::string& text, const std::string& reference);

}  // namespace rewardloom
