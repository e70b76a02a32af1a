// Normalisation of a per-token tensor over all action tokens of a batch.
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"
#include "nodes/advantage/token_rows.h"

namespace rewardloom {

enum class EpsilonMode { add, floor };
constexpr auto choices(EpsilonMode) {
  return std::to_array<Choice<EpsilonMode>>({
      {EpsilonMode::add, "add", "rsqrt(variance + epsilon), as verl and TRL do"},
      {EpsilonMode::floor, "floor", "rsqrt(max(variance, epsilon)), as OpenRLHF does"},
  });
}

struct WhitenOptions {
  Divisor variance = Divisor::sample;
  double epsilon = 1e-8;
  EpsilonMode epsilon_mode = EpsilonMode::add;
  bool shift_mean = true;
};

/// How a framework whitens advantages: verl and TRL add 1e-8 to the sample variance, OpenRLHF holds
/// the population variance above 1e-8.
constexpr WhitenOptions whitening_of(Divisor variance) {
  return {variance, 1e-8, variance == Divisor::sample ? EpsilonMode::add : EpsilonMode::floor,
          true};
}

/// Zero mean and unit spread over the tokens of the mask. values [N,T] (or [N]), mask of the same
/// shape
/// -> the same shape, 0 outside the mask. Equal values, and a single one, give exactly the mean
/// they keep (0 with shift_mean).
at::Tensor whiten(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions& options);
/// As above with the rows in parallel; the result is the same.
at::Tensor whiten(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions& options,
                  const ParallelCalls& parallel);
/// As above by operators on whole tensors: what runs on an accelerator.
at::Tensor whiten_by_operators(const at::Tensor& values, const at::Tensor& mask,
                               const WhitenOptions& options);
/// Only the mean is taken away; equal values give exactly 0. Shapes as above.
at::Tensor subtract_mean(const at::Tensor& values, const at::Tensor& mask,
                         const ParallelCalls& parallel = {});

}  // namespace rewardloom
