// How well generated tests choose programs.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class SuiteTie { last, first, expected };
constexpr auto choices(SuiteTie) {
  return std::to_array<Choice<SuiteTie>>({
      {SuiteTie::last, "last", "the last of them, as UTRL's code does"},
      {SuiteTie::first, "first", "the first"},
      {SuiteTie::expected, "expected", "each with the same chance: the mean"},
  });
}

/// Shares of the tasks, and a mean of correlations.
struct SuiteQuality {
  double best_of_n = 0;  ///< the program with the highest score is right
  double pass_at_1 = 0;  ///< a program is right
  double any = 0;        ///< some program is right: no choice can do better
  double fidelity = 0;   ///< Spearman of the scores by both suites; 0 where one is constant
};

/// scores [P,N]: share of the generated tests that each program passes; truth [P,N]: of the hidden
/// ones; a program is right if it passes all hidden tests.
SuiteQuality suite_quality(const at::Tensor& scores, const at::Tensor& truth, SuiteTie tie);

}  // namespace rewardloom
