#include "nodes/loss/bradley_terry.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

constexpr double kWeightFloor = 1e-6;

struct Pairs {
  at::Tensor chosen, rejected;
  at::Tensor weight;  ///< undefined where weights are not used
  at::Tensor valid;   ///< [N] bool: pairs that have a weight
};

Pairs pairs_of(const LossBatch& batch, PairReduce reduce) {
  Pairs pairs;
  pairs.chosen = row_argument(batch, "chosen");
  pairs.rejected = argument_like(batch, "rejected", pairs.chosen, "chosen");
  pairs.valid = at::ones_like(pairs.chosen, at::kBool);
  if (reduce == PairReduce::mean) return pairs;
  pairs.weight = argument_like(batch, "weight", pairs.chosen, "chosen")
                     .detach()
                     .to(pairs.chosen.scalar_type());
  pairs.valid = pairs.weight.ne(0);
  const at::Tensor zero = at::zeros({}, pairs.chosen.options().requires_grad(false));
  pairs.chosen = at::where(pairs.valid, pairs.chosen, zero);
  pairs.rejected = at::where(pairs.valid, pairs.rejected, zero);
  return pairs;
}

at::Tensor gap_loss(const at::Tensor& gap, const BradleyTerryOptions& options) {
  const double a = options.label_smoothing;
  if (options.form == PairForm::logsigmoid) return logistic_loss(gap, a);
  const at::Tensor right = -(gap.sigmoid() + options.epsilon).log();
  if (a == 0) return right;
  return (1 - a) * right - a * ((-gap).sigmoid() + options.epsilon).log();
}

at::Tensor pair_loss(const LossBatch& batch, const Pairs& pairs,
                     const BradleyTerryOptions& options) {
  at::Tensor gap = pairs.chosen - pairs.rejected;
  at::Tensor margin;
  if (batch.has("margin") || options.strength != Strength::none) {
    margin = argument_like(batch, "margin", pairs.chosen, "chosen").detach();
    margin = at::where(pairs.valid, margin, at::zeros_like(margin)).to(gap.scalar_type());
  }
  if (margin.defined() && options.strength != Strength::scale) gap = gap - margin;
  at::Tensor loss = gap_loss(gap, options);
  if (options.strength == Strength::scale) loss = loss * margin;
  if (options.center != 0) {
    loss = loss + options.center * (pairs.chosen + pairs.rejected).square();
  }
  if (options.l2 == 0) return loss;
  return loss + options.l2 * (pairs.chosen.square() + pairs.rejected.square());
}

at::Tensor reduced(const LossBatch& batch, const Pairs& pairs, const at::Tensor& loss,
                   PairReduce reduce) {
  if (reduce == PairReduce::mean) return pair_mean(loss, batch);
  if (reduce == PairReduce::weighted_mean) return pair_mean(pairs.weight * loss, batch);
  const at::Tensor sum = (pairs.weight * loss).sum();
  if (batch.total_weight) return sum / (*batch.total_weight + kWeightFloor);
  require_whole_step(pairs_of_step(batch), static_cast<double>(loss.size(0)),
                     "divides by the weights of all pairs of a step");
  return sum / (pairs.weight.sum() + kWeightFloor);
}

}  // namespace

LossResult bradley_terry_loss(const LossBatch& batch, const BradleyTerryOptions& options) {
  const Pairs pairs = pairs_of(batch, options.reduce);
  const at::Tensor gap = (pairs.chosen - pairs.rejected).detach();
  const at::Tensor count = pairs.valid.sum().clamp_min(1).to(gap.scalar_type());
  LossResult result;
  result.loss = reduced(batch, pairs, pair_loss(batch, pairs, options), options.reduce);
  result.outputs = {{"accuracy", (gap > 0).sum().to(gap.scalar_type()) / count},
                    {"gap", gap.sum() / count}};
  return result;
}

struct BradleyTerry final : LossNode {
  Argument chosen{
      this, "chosen", "N", "rewards of the preferred answers", {.differentiable = true}};
  Argument rejected{this, "rejected", "N", "rewards of the others", {.differentiable = true}};
  Argument margin{
      this, "margin", "N", "how much better the preferred answer is", {.optional = true}};
  Argument weight{
      this, "weight", "N", "weight of each pair, 0 where it is not valid", {.optional = true}};
  Param<PairForm> form{this, "form", PairForm::logsigmoid, "loss of the gap d"};
  Param<double> epsilon{this, "epsilon", 1e-5, "only log_eps", {.min = 0, .exclusive_min = true}};
  Param<double> label_smoothing{this,
                                "label_smoothing",
                                0.0,
                                "share of labels that are taken to be wrong",
                                {.min = 0, .max = 0.5}};
  Param<double> center{
      this, "center", 0.0, "factor of (r_c + r_r)^2, which keeps rewards around 0", {.min = 0}};
  Param<double> l2{
      this, "l2", 0.0, "factor of r_c^2 + r_r^2, which keeps rewards small", {.min = 0}};
  Param<PairReduce> reduce{this, "reduce", PairReduce::mean, "how pairs become one number"};
  Param<Strength> strength{this, "strength", Strength::none, "what the margin does"};
  Synonyms words{this, {"reward model", "pairwise", "ranking loss", "preference"}};
  Doc doc{this,
          "d = r_c - r_r - margin; pair loss = -(1 - a) log sigmoid(d) - a log sigmoid(-d), a = "
          "label_smoothing, + center (r_c + r_r)^2 + l2 (r_c^2 + r_r^2) [N]\n"
          "accuracy: share of pairs with chosen above rejected; gap: mean of their difference.\n"
          "Micro-batches of weighted_sum_over_valid need total_weight, the sum of the step's "
          "weights."};

  LossResult evaluate(const LossBatch& batch) const override {
    return bradley_terry_loss(
        batch, {form(), epsilon(), label_smoothing(), center(), l2(), reduce(), strength()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(BradleyTerry, "Pairwise reward-model loss (Bradley-Terry)", "doi:10.2307/2334029")
