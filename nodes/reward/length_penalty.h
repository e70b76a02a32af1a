// Penalties for what is longer than it may be for free.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rewardloom {

/// per_token * max(0, lengths - free_length). lengths [N] integers -> [N] double.
at::Tensor length_excess(const at::Tensor& lengths, double per_token, std::int64_t free_length);

}  // namespace rewardloom
