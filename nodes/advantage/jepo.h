// Jensen's evidence lower bound policy optimisation (Tang et al. 2025, arXiv:2503.19618).
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct JepoAdvantages {
  at::Tensor advantages;      ///< [N]
  at::Tensor answer_weights;  ///< [N] softmax inside the group, 0 for absent rows
};

/// A_i = log mean_j exp r_j - log mean_{j != i} exp r_j inside i's group, with r the
/// log-likelihoods of the reference answer; any size of r is safe. rewards [N], group [N] int64,
/// absent [N] bool or undefined -> like rewards. Equal rewards, and a group of one, give exactly 0.
/// Linear in N. Failure `bad-shape`, `not-finite`.
JepoAdvantages jepo_advantages(const at::Tensor& rewards, const at::Tensor& group,
                               const at::Tensor& absent);

}  // namespace rewardloom
