// The clipped policy-gradient loss (Schulman et al. 2017, arXiv:1707.06347) and its variants.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "nodes/loss/aggregate.h"

namespace rewardloom {

struct PolicyClipOptions {
  double low = 0.2;
  double high = 0.2;
  std::optional<double> dual = {};       ///< for A < 0 the loss is at most -A * dual
  std::optional<double> ratio_cap = {};  ///< TRL's delta
  std::optional<double> log_ratio_clamp = 20.0;
  AggregateOptions aggregate = {};
};

/// Arguments log_probs, old_log_probs, mask [N,T]; advantages [N,T] or [N]; weights [N,T] optional.
/// -> loss []; outputs clip_fraction, clip_fraction_lower, approx_kl [], all means over action
/// tokens.
LossResult policy_clip_loss(const LossBatch& batch, const PolicyClipOptions& options);

}  // namespace rewardloom
