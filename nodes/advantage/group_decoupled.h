// Rewards normalised one by one before they are added: GDPO (Liu et al. 2026, arXiv:2601.05242).
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "nodes/advantage/group.h"

namespace rewardloom {

struct DecoupledOptions {
  double epsilon = 1e-4;
  Divisor divisor = Divisor::sample;
};

/// Each column is centred and divided by (spread + epsilon) inside its group, the columns are added
/// with their weights, and the sums are normalised over the batch in the same way. components
/// [N,K], weights K numbers or none (all 1), group [N] int64, absent [N,K] bool or undefined: what
/// is not there enters nothing; a row of which nothing is there gets 0. -> [N] like components.
/// Equal values give exactly 0. Failure `bad-shape`, `not-finite`.
at::Tensor decoupled_advantages(const at::Tensor& components, const std::vector<double>& weights,
                                const at::Tensor& group, const at::Tensor& absent,
                                const DecoupledOptions& options);

}  // namespace rewardloom
