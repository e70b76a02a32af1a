// Intersection over union of boxes.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class BoxConvention { continuous, inclusive_pixels };
constexpr auto choices(BoxConvention) {
  return std::to_array<Choice<BoxConvention>>({
      {BoxConvention::continuous, "continuous", "corners are points of the plane"},
      {BoxConvention::inclusive_pixels, "inclusive_pixels",
       "as VLM-R1: the overlap ends one before the right and lower edge and must be wider than "
       "one"},
  });
}

/// boxes, reference [N,4] as x1, y1, x2, y2 -> [N] in 0..1; an empty union gives 0. A box whose
/// corners are swapped is empty. Computed in double.
at::Tensor box_overlap(const at::Tensor& boxes, const at::Tensor& reference,
                       BoxConvention convention);

}  // namespace rewardloom
