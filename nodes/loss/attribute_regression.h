// Regression reward models with several rating attributes.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/node.h"

namespace rewardloom {

/// predictions, labels [N,K]; a label equal to mask_value is missing -> loss []: squared error,
/// mean over the labels that are there (0 where there are none); error [] (mean absolute),
/// labels_here [] (how many). A part of a step needs total_weight, the number of the step's labels
/// that are there; else Failure `not-separable`.
LossResult attribute_regression_loss(const LossBatch& batch, double mask_value);

}  // namespace rewardloom
