// Distributions of tensors, as the run store keeps them.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/io/run_rows.h"

namespace rewardloom {

/// The distribution of all elements of `values` (any shape, any real dtype or bool, any device).
/// `present` is undefined or bool with the shape of `values` or of its leading dimensions ([N] for
/// [N,T]); what it marks false is counted as absent and nothing else. NaN and infinities are
/// counted as nonfinite. Mean and standard deviation (population) in two passes of doubles;
/// quantiles interpolate linearly (type 7 of Hyndman and Fan 1996, as numpy's default); if min ==
/// max the first of the `bins` holds everything.
Distribution distribution_of(const at::Tensor& values, const at::Tensor& present = {},
                             int bins = 64);

}  // namespace rewardloom
