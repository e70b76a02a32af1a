// Group policy gradient (Chu et al. 2025, arXiv:2504.02546).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/group.h"

namespace rewardloom {

struct GpgOptions {
  double f_norm = 1.0;
  Singleton singleton = Singleton::raw;
};

/// A = alpha (r - mean of its group) / f_norm; alpha = scored rows / rows with a reward other than
/// 0, which makes up for groups without signal. rewards [N], group [N] int64, absent [N] bool or
/// undefined -> [N] like rewards. Failure `bad-shape`, `not-finite`.
at::Tensor gpg_advantages(const at::Tensor& rewards, const at::Tensor& group,
                          const at::Tensor& absent, const GpgOptions& options);

}  // namespace rewardloom
