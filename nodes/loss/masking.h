// Masks over tokens, without the element-by-element operators of LibTorch on the CPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// x where the mask holds, elsewhere exactly 0 and without gradient, whatever stood there. x and
/// mask (bool) have the same sizes.
at::Tensor on_mask(const at::Tensor& mask, const at::Tensor& x);

/// How many tokens the mask [N,T] holds: [] double.
at::Tensor token_count(const at::Tensor& mask);

/// Mean of values [N,T] (numbers or truths) over the mask, 0 where it is empty; detached.
at::Tensor masked_mean(const at::Tensor& values, const at::Tensor& mask);

}  // namespace rewardloom
