// The KL divergence to a reference as part of the reward (Ziegler et al. 2019, arXiv:1909.08593).
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// Puts each row's outcome at its last token. outcome [N], mask [N,T] bool -> [N,T], 0 elsewhere;
/// rows without tokens get nothing.
at::Tensor at_last_token(const at::Tensor& outcome, const at::Tensor& mask);

}  // namespace rewardloom
