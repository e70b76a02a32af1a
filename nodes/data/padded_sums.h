// Sums whose answers may begin with characters that say nothing.
#pragma once
#include <cstdint>
#include <string>

#include "engine/core/random.h"

namespace rewardloom {

/// A two-digit and a one-digit number whose sum has two digits.
struct PaddedSum {
  std::int64_t first = 0;   ///< 10 .. 90
  std::int64_t second = 0;  ///< 0 .. 9
  std::int64_t answer() const { return first + second; }
  std::string question() const;
  /// By a hash of both numbers: no seed matters.
  bool is_held_out(double share) const;
};

/// All such sums of one part are equally likely.
PaddedSum draw_padded_sum(Random random, bool held_out, double held_out_share);

/// Another number of two digits, 1 .. 9 beside `right`.
std::int64_t two_digits_beside(std::int64_t right, Random& random);

/// What a demonstration looks like: 0 .. `most_fillers` fillers, then two digits.
struct PaddedAnswerSpread {
  std::string filler = "V";
  std::int64_t most_fillers = 5;
  double wrong_share = 0.4;  ///< answers that miss the sum by 1 .. 9
};
std::string draw_padded_answer(const PaddedSum& sum, const PaddedAnswerSpread& spread,
                               Random random);

/// How often `filler` stands in `text`, counted from the left without overlap. `filler` not empty.
std::int64_t count_fillers(const std::string& text, const std::string& filler);

}  // namespace rewardloom
