// REINFORCE++ (Hu et al. 2025, arXiv:2501.03262).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"
#include "nodes/advantage/returns.h"

namespace rewardloom {

enum class ReturnWhiten { sample, population, mean_only, none };
constexpr auto choices(ReturnWhiten) {
  return std::to_array<Choice<ReturnWhiten>>({
      {ReturnWhiten::sample, "sample", "1e-8 added to the sample variance (verl)"},
      {ReturnWhiten::population, "population", "population variance held above 1e-8 (OpenRLHF)"},
      {ReturnWhiten::mean_only, "mean_only", "only the mean is taken away (OpenRLHF no_std_norm)"},
      {ReturnWhiten::none, "none", "returns as they are"},
  });
}

/// Discounted returns (see discounted_returns) and, as advantages, the same whitened over all
/// tokens of the mask. rewards, mask [N,T] -> both [N,T] like rewards, 0 outside the mask. Failure
/// `bad-shape`.
AdvantagesAndReturns reinforce_pp(const at::Tensor& rewards, const at::Tensor& mask, double gamma,
                                  ReturnWhiten whitening, const ParallelCalls& parallel = {});

}  // namespace rewardloom
