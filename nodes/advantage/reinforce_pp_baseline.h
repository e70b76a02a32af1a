// REINFORCE++ with the group's mean as baseline (Hu et al. 2025, arXiv:2501.03262).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"
#include "nodes/advantage/token_rows.h"

namespace rewardloom {

struct ReinforceBaselineOptions {
  Divisor whiten = Divisor::sample;
  Singleton singleton = Singleton::zero;
};

/// Reward minus its group's mean, whitened over all tokens of the mask: a long row weighs more.
/// rewards [N], group [N] int64, absent [N] bool or undefined, mask [N,T] -> [N,T] like rewards, 0
/// outside the mask and on absent rows. Failure `bad-shape`, `not-finite`.
at::Tensor reinforce_pp_baseline(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const at::Tensor& mask,
                                 const ReinforceBaselineOptions& options,
                                 const ParallelCalls& parallel = {});

}  // namespace rewardloom
