// Arithmetic tasks with known answers, and which of them are kept for evaluation.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/random.h"

namespace rewardloom {

/// One task: a op b.
struct ArithmeticTask {
  std::int64_t a = 0;
  std::int64_t b = 0;
  char operation = '+';
  std::int64_t answer() const;
};

/// The tasks with operands below `limit_a` and `limit_b`.
struct ArithmeticSpace {
  std::int64_t limit_a = 100;
  std::int64_t limit_b = 100;
  std::string operations = "+";   ///< of + - *
  bool negative_answers = false;  ///< else the larger operand of a difference comes first
  double held_out_share = 0.1;

  /// Whether the pair belongs to the held-out subset: by a hash of the unordered pair, so that
  /// neither the seed nor the order of the operands nor the operation matters.
  bool is_held_out(std::int64_t a, std::int64_t b) const;
  /// A task of the training or the whole set, uniform over its operand pairs.
  ArithmeticTask draw(Random random, bool train_only) const;
  /// The first `count` held-out tasks (fewer if there are no more) of a fixed walk over all pairs.
  std::vector<ArithmeticTask> held_out(std::size_t count) const;
};

}  // namespace rewardloom
