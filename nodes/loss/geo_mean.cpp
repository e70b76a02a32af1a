#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/sequence_ratio.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// There is no geometric mean of numbers below 0.
void require_weights(const at::Tensor& weights) {
  const at::Tensor bad = weights.ge(0).logical_not().nonzero();
  if (bad.size(0) == 0) return;
  const std::int64_t row = bad[0][0].item<std::int64_t>();
  const std::int64_t token = bad[0][1].item<std::int64_t>();
  throw Failure({Severity::error,
                 "bad-weights",
                 {"", "", "weights"},
                 fmt::format("the weight of row {} at token {} is {}", row, token,
                             weights[row][token].item<double>()),
                 "give importance weights of 0 or more, e.g. those of correction.importance",
                 {}});
}

/// Geometric mean of the row's weights [N]; 1 for a row without tokens.
at::Tensor row_weights(const LossBatch& batch, const PolicyRows& rows) {
  const at::Tensor weights = masked_argument(batch, "weights", rows.mask).detach();
  require_weights(weights);
  const at::Tensor logs = at::where(rows.mask, (weights + 1e-10).log(), at::zeros_like(weights));
  return (logs.sum(-1) / rows.lengths()).exp();
}

OneSidedSums sums_of(const LossBatch& batch, const PolicyRows& given,
                     const GeoMeanOptions& options) {
  if (fits_token_pass(given.mask, {given.log_probs, given.old_log_probs, given.advantages})) {
    return one_sided_sums(given.mask, given.log_probs, given.old_log_probs, given.advantages,
                          options.low, options.high);
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor x = rows.log_ratio();
  const at::Tensor up = rows.advantages > 0, down = rows.advantages < 0;
  const at::Tensor held = at::where(up, x.clamp_max(options.high),
                                    at::where(down, x.clamp_min(-options.low), at::zeros_like(x)));
  const at::Tensor outside = x.detach().ne(x.detach().clamp(-options.low, options.high));
  return {held.sum(-1), rows.advantages.sum(-1), masked_mean(outside.logical_and(up), rows.mask),
          masked_mean(outside.logical_and(down), rows.mask), masked_mean(-x, rows.mask)};
}

}  // namespace

LossResult geo_mean_loss(const LossBatch& batch, const GeoMeanOptions& options) {
  const PolicyRows rows = unmasked_policy_rows(batch);
  const OneSidedSums sums = sums_of(batch, rows, options);
  const at::Tensor lengths = rows.lengths();
  at::Tensor row_loss = -(sums.a / lengths) * bounded_exp(sums.held / lengths);
  if (batch.has("weights")) row_loss = row_loss * row_weights(batch, rows);
  LossResult result;
  result.loss = row_mean(row_loss, batch);
  result.outputs = {{"clip_fraction", sums.above_0},
                    {"clip_fraction_lower", sums.below_0},
                    {"approx_kl", sums.approx_kl}};
  return result;
}

struct GeoMean final : LossNode {
  PolicyArguments rows{this};
  Argument weights = Argument::with_port<Values>(
      this, "weights", "N,T", "importance correction; its geometric mean multiplies the row's loss",
      {.optional = true});
  Param<double> low{this, "low", 0.4, "lower clip distance of the log-ratio", {.min = 0}};
  Param<double> high{this, "high", 0.4, "upper clip distance of the log-ratio", {.min = 0}};
  Synonyms words{this, {"GMPO", "geometric mean", "surrogate", "clip"}};
  Doc doc{this,
          "x = log_probs - old_log_probs, at most high where A > 0, at least -low where A < 0\n"
          "row loss = -mean(A) exp(mean(x)) over the row's tokens; loss = mean over all rows, also "
          "those without tokens (they give 0).\n"
          "clip_fraction, clip_fraction_lower: shares of tokens with A > 0, A < 0 outside "
          "[-low, high]. total_sequences counts all rows."};

  LossResult evaluate(const LossBatch& batch) const override {
    return geo_mean_loss(batch, {low(), high()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GeoMean, "Geometric-mean policy gradient (GMPO)", "arXiv:2507.20673")
