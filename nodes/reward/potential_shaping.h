// Potential-based shaping: leaves the best policy the best.
// Ng, Harada and Russell 1999, "Policy invariance under reward transformations".
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class TerminalPotential { keep, zero };
constexpr auto choices(TerminalPotential) {
  return std::to_array<Choice<TerminalPotential>>({
      {TerminalPotential::keep, "keep", "the potential of a terminal state counts as it is"},
      {TerminalPotential::zero, "zero", "it counts 0, as policy invariance in episodes needs"},
  });
}

/// r + gamma * potential(next) - potential(now). Either a table, rewards [S,A,S] and potential [S],
/// or rows, rewards [N,T], potential [N,T+1] and, for TerminalPotential::zero, terminated [N,T]
/// bool (or undefined). Failure `bad-shape`.
at::Tensor potential_shaped(const at::Tensor& rewards, const at::Tensor& potential,
                            const at::Tensor& terminated, double gamma, TerminalPotential terminal);

}  // namespace rewardloom
