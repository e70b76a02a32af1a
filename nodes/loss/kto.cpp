#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

/// Mean log-ratio of completions that belong to other prompts, at least 0.
at::Tensor mismatched_kl(const LossBatch& batch) {
  const at::Tensor policy = row_argument(batch, "kl_log_probs").detach();
  const at::Tensor reference =
      argument_like(batch, "ref_kl_log_probs", policy, "kl_log_probs").detach();
  return mean_over(policy - reference, at::ones_like(policy, at::kBool)).clamp_min(0);
}

/// The reference point of each row, [] or [N].
at::Tensor reference_point(const LossBatch& batch, const UnpairedRows& rows,
                           const KtoOptions& options) {
  const at::Tensor& x = rows.log_ratio;
  if (options.variant != KtoVariant::kto || options.kl == KtoKl::none) {
    return at::zeros({}, x.detach().options());
  }
  if (options.kl == KtoKl::mismatched) return mismatched_kl(batch).to(x.scalar_type());
  require_whole_step(batch.total_sequences, static_cast<double>(x.size(0)),
                     "takes the mean log-ratio of all rows of a step");
  if (options.kl == KtoKl::batch_mean) {
    return mean_over(x.detach(), at::ones_like(rows.desirable)).clamp_min(0);
  }
  const at::Tensor of_desirable = mean_over(x, rows.desirable).clamp_min(0);
  const at::Tensor of_others = mean_over(x, rows.desirable.logical_not()).clamp_min(0);
  return at::where(rows.desirable, of_others, of_desirable);
}

}  // namespace

LossResult kto_loss(const LossBatch& batch, const KtoOptions& options) {
  const UnpairedRows rows = unpaired_rows(batch);
  const at::Tensor z = reference_point(batch, rows, options);
  const at::Tensor advantage = options.beta * (rows.log_ratio - z);
  const at::Tensor value = at::where(rows.desirable, -advantage, advantage).sigmoid();
  const auto number = [&](double v) { return at::full({}, v, value.detach().options()); };
  const at::Tensor weight = at::where(rows.desirable, number(options.desirable_weight),
                                      number(options.undesirable_weight));
  LossResult result;
  result.loss = row_mean(weight * value, batch);
  const at::Tensor rewards = options.beta * rows.log_ratio.detach();
  const at::Tensor desired = mean_over(rewards, rows.desirable);
  const at::Tensor undesired = mean_over(rewards, rows.desirable.logical_not());
  result.outputs = {{"kl", z.dim() == 0 ? z.detach() : z.detach().mean()},
                    {"rewards", rewards},
                    {"margin", desired - undesired}};
  return result;
}

struct Kto final : LossNode {
  Argument log_probs{
      this, "log_probs", "N", "policy, summed over completion tokens", {.differentiable = true}};
  Argument ref_log_probs{this, "ref_log_probs", "N", "the same under the reference"};
  Argument desirable{this, "desirable", "N", "true: the answer is wanted"};
  Argument kl_log_probs{this,
                        "kl_log_probs",
                        "M",
                        "policy on completions of other prompts, those of the whole step",
                        {.optional = true}};
  Argument ref_kl_log_probs{
      this, "ref_kl_log_probs", "M", "the same under the reference", {.optional = true}};
  Param<KtoVariant> variant{this, "variant", KtoVariant::kto, "which loss"};
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "strength of the pull to the reference",
                     {.min = 0, .exclusive_min = true}};
  Param<double> desirable_weight{
      this, "desirable_weight", 1.0, "weight of desirable rows", {.min = 0}};
  Param<double> undesirable_weight{
      this, "undesirable_weight", 1.0, "weight of undesirable rows", {.min = 0}};
  Param<KtoKl> kl{this, "kl", KtoKl::mismatched, "the reference point z"};
  Synonyms words{this, {"KTO", "Kahneman-Tversky", "thumbs up", "unpaired preferences"}};
  Doc doc{this,
          "x = log_probs - ref_log_probs [N]; row loss = weight * (1 - sigmoid(beta (x - z))) if "
          "desirable, weight * (1 - sigmoid(beta (z - x))) if not; loss = mean over the step's "
          "rows.\n"
          "kl: the reference point z (its mean where it differs by class); rewards [N]: beta x; "
          "margin: mean reward of desirable minus undesirable rows.\n"
          "class_means and batch_mean look at all rows: the step must be one micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return kto_loss(batch, {variant(), beta(), desirable_weight(), undesirable_weight(), kl()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Kto, "Kahneman-Tversky optimisation (KTO)", "arXiv:2402.01306")
