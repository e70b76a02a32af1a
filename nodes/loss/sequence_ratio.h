// Policy losses with one probability ratio per sequence: GSPO, GMPO, VESPO.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "nodes/loss/aggregate.h"

namespace rewardloom {

enum class SequenceGradient { sequence, token };
constexpr auto choices(SequenceGradient) {
  return std::to_array<Choice<SequenceGradient>>({
      {SequenceGradient::sequence, "sequence",
       "through the mean log-ratio of the row (TRL, OpenRLHF)"},
      {SequenceGradient::token, "token",
       "the row's ratio as a constant times each token's own gradient (verl, GSPO-token)"},
  });
}

struct GspoOptions {
  double low = 0.0003;
  double high = 0.0004;
  SequenceGradient gradient = SequenceGradient::sequence;
  std::optional<double> log_ratio_max = {};
  bool length_weighted = false;
  AggregateOptions aggregate = {};
};

/// Group sequence policy optimisation (Zheng et al. 2025, arXiv:2507.18071): the ratio of a row is
/// the exponential of the mean log-ratio of its tokens. Arguments as PolicyRows -> loss [];
/// clip_fraction, approx_kl []. `length_weighted` (LUSPO): mean over all rows of length * row loss,
/// whatever `aggregate` says.
LossResult gspo_loss(const LossBatch& batch, const GspoOptions& options);

struct GeoMeanOptions {
  double low = 0.4;   ///< in log space
  double high = 0.4;  ///< in log space
};

/// Geometric-mean policy optimisation (Zhao et al. 2025, arXiv:2507.20673): token log-ratios
/// clipped on the side that the advantage rewards, then averaged over the row. Arguments as
/// PolicyRows, and weights [N,T] or none -> loss [] (mean over all rows, also those without
/// tokens), clip_fraction (A > 0), clip_fraction_lower (A < 0), approx_kl [].
LossResult geo_mean_loss(const LossBatch& batch, const GeoMeanOptions& options);

struct VespoOptions {
  double k_positive = 2;
  double lambda_positive = 3;
  double k_negative = 3;
  double lambda_negative = 2;
};

/// -phi(w) A log_probs per token, aggregated as token_mean, phi(w) = w^k e^(lambda (1 - w)) a
/// constant (arXiv:2602.10693); w is the product of the row's token ratios and of weights [N,T] (or
/// none), within [1e-8, e^20]. k and lambda go by the sign of the row's mean advantage. Arguments
/// as PolicyRows -> loss []; phi [N].
LossResult vespo_loss(const LossBatch& batch, const VespoOptions& options);

}  // namespace rewardloom
