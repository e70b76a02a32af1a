// Consistency of generated images with their control, damped where a second pass disagrees.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/node.h"

namespace rewardloom {

struct UncertainConsistencyOptions {
  double grad_scale = 0.1;
  double u_scale = 1;
  std::int64_t ramp_steps = 5000;
  std::int64_t step = 0;
  std::int64_t t_min = 0;
  std::int64_t t_max = 400;
  std::int64_t ignore = 255;
};

/// Ctrl-U (segmentation form): U = u_scale KL(second || first) per pixel, also with gradient.
/// logits, second_logits [N,K,H,W], labels [N,H,W] int64, timesteps [N] int64, base_loss [] or none
/// -> loss [] = base_loss + min(1, step / ramp_steps) grad_scale * mean over rows of the mean over
/// labelled pixels of cross-entropy * exp(-U) + the same of U over all pixels, both over rows with
/// t_min <= timestep <= t_max; consistency, uncertainty []. A part of a step needs total_weight,
/// the number of the step's rows within those bounds; else Failure `not-separable`.
LossResult uncertain_consistency_loss(const LossBatch& batch,
                                      const UncertainConsistencyOptions& options);

}  // namespace rewardloom
