#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/sequence_ratio.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

const double kLowestLogWeight = std::log(1e-8);
constexpr double kHighestLogWeight = 20;

/// log of the row's ratio [N], weights included; constant.
at::Tensor log_sequence_ratio(const LossBatch& batch, const PolicyRows& rows) {
  const at::Tensor x = rows.log_ratio().detach().clamp(-kHighestLogWeight, kHighestLogWeight);
  at::Tensor sum = x.sum(-1);
  if (batch.has("weights")) {
    const at::Tensor weights = masked_argument(batch, "weights", rows.mask).detach();
    const at::Tensor logs = weights.log().clamp(kLowestLogWeight, kHighestLogWeight);
    sum = sum + at::where(rows.mask, logs, at::zeros_like(logs)).sum(-1);
  }
  return sum.clamp(kLowestLogWeight, kHighestLogWeight);
}

/// The factor of each row [N]; log_w [N], positive [N] bool.
at::Tensor factor_of(const at::Tensor& log_w, const at::Tensor& positive,
                     const VespoOptions& options) {
  const auto by_sign = [&](double plus, double minus) {
    return at::where(positive, at::full({}, plus, log_w.options()),
                     at::full({}, minus, log_w.options()));
  };
  const at::Tensor k = by_sign(options.k_positive, options.k_negative);
  const at::Tensor lambda = by_sign(options.lambda_positive, options.lambda_negative);
  return (lambda + k * log_w - lambda * log_w.exp()).exp();
}

LossResult in_passes(const LossBatch& batch, const PolicyRows& raw, const VespoOptions& options) {
  const auto [held, advantage, free] =
      ratio_sums(raw.mask, raw.log_probs, raw.old_log_probs, raw.advantages, kHighestLogWeight);
  const at::Tensor log_w = held.to(at::kFloat).clamp(kLowestLogWeight, kHighestLogWeight);
  const at::Tensor phi = factor_of(log_w, advantage >= 0, options);
  const TokenPass pass = linear_pass(raw.mask, raw.log_probs, -1, raw.advantages,
                                     phi.unsqueeze(-1).expand_as(raw.log_probs));
  const at::Tensor tokens = token_count(raw.mask).clamp_min(1);
  LossResult result;
  result.loss = aggregate_masked(differentiable(raw.log_probs, pass), raw.mask, {}, batch);
  result.outputs = {{"phi", phi}, {"approx_kl", -(free.sum() / tokens).to(at::kFloat)}};
  return result;
}

}  // namespace

LossResult vespo_loss(const LossBatch& batch, const VespoOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  if (!batch.has("weights") &&
      fits_token_pass(raw.mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    return in_passes(batch, raw, options);
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor phi =
      factor_of(log_sequence_ratio(batch, rows), rows.advantages.sum(-1) >= 0, options);
  LossResult result;
  result.loss =
      aggregate(-phi.unsqueeze(-1) * rows.advantages * rows.log_probs, rows.mask, {}, batch);
  result.outputs = {{"phi", phi}, {"approx_kl", masked_mean(-rows.log_ratio(), rows.mask)}};
  return result;
}

struct Vespo final : LossNode {
  PolicyArguments rows{this};
  Argument weights = Argument::with_port<Values>(
      this, "weights", "N,T", "ratio of the old policy to the sampler; enters the row's ratio",
      {.optional = true});
  Param<double> k_positive{this, "k_positive", 2.0, "power of the ratio where A >= 0", {.min = 0}};
  Param<double> lambda_positive{
      this, "lambda_positive", 3.0, "decay with the ratio where A >= 0", {.min = 1e-4}};
  Param<double> k_negative{this, "k_negative", 3.0, "power of the ratio where A < 0", {.min = 0}};
  Param<double> lambda_negative{
      this, "lambda_negative", 2.0, "decay with the ratio where A < 0", {.min = 1e-4}};
  Synonyms words{this, {"VESPO", "gamma weight", "off-policy"}};
  Doc doc{this,
          "w = product over a row's tokens of exp(log_probs - old_log_probs) * weights, within "
          "[1e-8, e^20]; phi = w^k exp(lambda (1 - w)), a constant for the gradient\n"
          "token loss = -phi A log_probs; loss = sum over tokens / number of tokens.\n"
          "phi: the factor of each row [N]. k and lambda go by the sign of the row's mean "
          "advantage."};

  LossResult evaluate(const LossBatch& batch) const override {
    return vespo_loss(batch, {k_positive(), lambda_positive(), k_negative(), lambda_negative()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Vespo, "Gamma-weighted policy gradient (VESPO)", "arXiv:2602.10693")
