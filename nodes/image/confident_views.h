// The augmented views of an image that a classifier is surest of.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct ConfidentViews {
  at::Tensor index;            ///< [K] int64, by rising entropy; equal ones in row order
  double average_entropy = 0;  ///< entropy of the mean distribution over all given views
};

/// logits [V,C] -> the floor(V * share) views of lowest prediction entropy, at least one (Zhao et
/// al. 2024, arXiv:2305.18010; Shu et al. 2022, arXiv:2209.07511).
ConfidentViews confident_views(const at::Tensor& logits, double share);

}  // namespace rewardloom
