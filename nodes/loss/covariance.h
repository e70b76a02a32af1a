// Policy losses that hold back tokens by the covariance of advantage and log-prob (Cui et al. 2025,
// arXiv:2505.22617).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/loss/aggregate.h"
#include "nodes/loss/policy_arguments.h"

namespace rewardloom {

/// (A - mean A) (log_prob - mean log_prob) per token [N,T], means over the mask; 0 outside,
/// constant.
at::Tensor token_covariance(const PolicyRows& rows);

struct ClipCovOptions {
  double low = 0.2;
  double high = 0.2;
  double ratio = 0.0002;  ///< share of the tokens that may be dropped, at least one token
  double cov_low = 1.0;
  double cov_high = 5.0;
  AggregateOptions aggregate = {};
};

/// The clipped policy gradient without those of the tokens that are not clipped and whose
/// covariance lies strictly between the bounds; of more than may be dropped, an arbitrary but
/// repeatable choice by a hash of the tokens' own numbers. Arguments as PolicyRows -> loss [];
/// clip_fraction (share dropped), approx_kl []. Failure `not-separable` for a part of a step.
LossResult clip_cov_loss(const LossBatch& batch, const ClipCovOptions& options);

struct KlCovOptions {
  double ratio = 0.0002;  ///< share of the tokens that are penalised, at least one token
  double coefficient = 1.0;
  AggregateOptions aggregate = {};
};

/// -A ratio per token without a clip, + coefficient |log-ratio| for the tokens of largest
/// covariance. Arguments as PolicyRows -> loss []; penalised, approx_kl []. Failure `not-separable`
/// for a part of a step.
LossResult kl_cov_loss(const LossBatch& batch, const KlCovOptions& options);

}  // namespace rewardloom
