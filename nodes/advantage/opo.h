// Optimal reward baseline (Hao et al. 2025, arXiv:2505.23585).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"

namespace rewardloom {

/// Reward minus the mean of its group in which a row weighs as much as it has tokens. rewards [N],
/// group [N] int64, absent [N] bool or undefined, mask [N,T] -> [N] like rewards. A group of equal
/// rewards, or without tokens, gets exactly 0. Failure `bad-shape`, `not-finite`.
at::Tensor opo_advantages(const at::Tensor& rewards, const at::Tensor& group,
                          const at::Tensor& absent, const at::Tensor& mask, Singleton singleton);

}  // namespace rewardloom
