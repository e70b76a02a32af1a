// Reference images of the same class.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/random.h"

namespace rewardloom {

/// For each of the wanted classes [N] a row of the pool [M] of that class, drawn from (stream,
/// row).
/// -> [N] int64. Failure `no-reference` listing the classes that the pool lacks.
at::Tensor draw_references(const at::Tensor& pool, const at::Tensor& wanted, const Random& stream);

}  // namespace rewardloom
