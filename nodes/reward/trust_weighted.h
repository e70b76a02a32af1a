// An outcome reward plus a thinking reward that is trusted where it agrees with the outcome.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct TrustOptions {
  double alpha = 0.3;
  double anneal = 1;       ///< exp(-step / horizon)
  double threshold = 0.5;  ///< outcome from which a row counts as right
};

struct TrustWeighted {
  at::Tensor rewards;  ///< [N]
  at::Tensor trust;    ///< [N] factor of the row's group, in (0,1]
};

/// outcome, thinking, group [N]; absent [N] bool or undefined. Within a group trust is 1, but
/// exp(mean thinking of right rows - mean thinking of wrong rows) where that is below 1; 1 without
/// right or without wrong rows. rewards = outcome + alpha * anneal * trust * thinking.
/// SophiaVL-R1, Fan et al. 2025, arXiv:2505.17018.
TrustWeighted trust_weighted(const at::Tensor& outcome, const at::Tensor& thinking,
                             const at::Tensor& group, const at::Tensor& absent,
                             const TrustOptions& options);

}  // namespace rewardloom
