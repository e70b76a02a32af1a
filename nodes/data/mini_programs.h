// Tasks whose solution is a small program: UTRL's experiment at the size of a CPU
// (arXiv:2508.21107).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/random.h"

namespace rewardloom {

/// f(x) = a x + b for x < k, s for x = k, c x + d for x > k, in the mini-language of
/// nodes/code/mini_language.h. k of -5 .. 5, the others of -3 .. 3.
struct MiniTask {
  std::int64_t k = 0, a = 0, b = 0, c = 0, d = 0, s = 0;

  std::string instruction() const;  ///< "k a b c d s"
  std::string program() const;      ///< that computes f
  std::int64_t value(std::int64_t x) const;
  bool is_held_out(double share) const;  ///< by a hash of the numbers: no seed matters
};

MiniTask draw_mini_task(Random random, bool held_out, double held_out_share);

/// A program with one fault: <= for <, no case for x = k, swapped branches, another constant, or a
/// constant; each equally likely.
std::string draw_faulty_program(const MiniTask& task, Random random);

/// "x = y , x = y ...", `cases` of them, x of -6 .. 6 equally likely and y right.
std::string draw_mini_suite(const MiniTask& task, std::int64_t cases, Random random);

/// A test {"input", "output"} for every x of -6 .. 6.
Json all_mini_tests(const MiniTask& task);

}  // namespace rewardloom
