#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/loss/covariance.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// The `share` of the tokens (at least one) with the largest covariance, [N,T] bool.
at::Tensor largest_covariance(const PolicyRows& rows, double share) {
  const std::int64_t tokens = rows.mask.sum().item().toLong();
  if (tokens == 0) return rows.mask;
  const auto count =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(share * static_cast<double>(tokens)));
  const at::Tensor covariance =
      token_covariance(rows).masked_fill(rows.mask.logical_not(), -HUGE_VAL).reshape(-1);
  const at::Tensor largest = std::get<1>(covariance.topk(count));
  return at::zeros_like(rows.mask).reshape(-1).index_fill(0, largest, 1).reshape(rows.mask.sizes());
}

}  // namespace

LossResult kl_cov_loss(const LossBatch& batch, const KlCovOptions& options) {
  const PolicyRows rows = policy_rows(batch);
  require_whole_step(batch, rows.mask, "compares all tokens of a step");
  const at::Tensor log_ratio = rows.log_ratio();
  const at::Tensor penalised = largest_covariance(rows, options.ratio);
  const at::Tensor penalty =
      at::where(penalised, options.coefficient * log_ratio.abs(), at::zeros_like(log_ratio));
  LossResult result;
  result.loss = aggregate(-rows.advantages * bounded_exp(log_ratio) + penalty, rows.mask,
                          options.aggregate, batch);
  result.outputs = {{"penalised", masked_mean(penalised, rows.mask)},
                    {"approx_kl", masked_mean(-log_ratio, rows.mask)}};
  return result;
}

struct KlCov final : LossNode {
  PolicyArguments rows{this};
  Param<double> ratio{this,
                      "ratio",
                      0.0002,
                      "share of the tokens that are penalised, at least one token",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> coefficient{this, "coefficient", 1.0, "factor of the penalty", {.min = 0}};
  AggregateParams aggregate{this};
  Synonyms words{this, {"KL-Cov", "entropy collapse", "exploration"}};
  Doc doc{this,
          "cov = (A - mean A) (log_probs - mean log_probs) per action token, means over the step\n"
          "token loss = -A exp(log_probs - old_log_probs), + coefficient |log_probs - "
          "old_log_probs| for the tokens of largest cov.\n"
          "penalised: their share. The means are over the whole step: it must be one "
          "micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return kl_cov_loss(batch, {ratio(), coefficient(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(KlCov, "Policy gradient with a KL penalty on high-covariance tokens (KL-Cov)",
                "arXiv:2505.22617")
