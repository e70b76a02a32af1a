#include "nodes/loss/bradley_terry.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

constexpr double kWeightFloor = 1e-6;

/// Pairs with a weight of 0 have no influence: their rewards and margins are taken as 0.
struct Pairs {
  at::Tensor chosen, rejected;
  at::Tensor margin;  ///< undefined where there is none
  at::Tensor weight;  ///< undefined where weights are not used
};

Pairs pairs_of(const LossBatch& batch, const BradleyTerryOptions& options) {
  Pairs pairs;
  pairs.chosen = row_argument(batch, "chosen");
  const auto like_chosen = [&](const char* name) {
    return argument_like(batch, name, pairs.chosen, "chosen");
  };
  const auto constant = [&](const char* name) {
    return like_chosen(name).detach().to(pairs.chosen.scalar_type());
  };
  pairs.rejected = like_chosen("rejected");
  if (options.reduce != PairReduce::mean) pairs.weight = constant("weight");
  if (batch.has("margin") || options.strength != Strength::none) pairs.margin = constant("margin");
  return pairs;
}

/// X is a tensor or a dual number of some pairs.
template <class X>
REWARDLOOM_INLINE X gap_loss(const X& gap, const BradleyTerryOptions& options) {
  const double a = options.label_smoothing;
  if (options.form == PairForm::logsigmoid) return logistic_loss(gap, a);
  const X right = -log(sigmoid(gap) + options.epsilon);
  if (a == 0) return right;
  return (1 - a) * right - a * log(sigmoid(-gap) + options.epsilon);
}

/// margin is null where there is none; C are the constants of X.
template <class X, class C>
REWARDLOOM_INLINE X pair_loss(const X& chosen, const X& rejected, const C* margin,
                              const BradleyTerryOptions& options) {
  X gap = chosen - rejected;
  if (margin != nullptr && options.strength != Strength::scale) gap = gap - *margin;
  X loss = gap_loss(gap, options);
  if (options.strength == Strength::scale) loss = loss * *margin;
  if (options.center != 0) loss = loss + options.center * square(chosen + rejected);
  if (options.l2 != 0) loss = loss + options.l2 * (square(chosen) + square(rejected));
  return loss;
}

/// The loss from the sum of weighted pair losses [] and of the weights [].
at::Tensor reduced(const LossBatch& batch, const Pairs& pairs, const at::Tensor& sum,
                   PairReduce reduce) {
  const auto here = static_cast<double>(pairs.chosen.size(0));
  if (reduce != PairReduce::weighted_sum_over_valid) return pair_mean_of(sum, here, batch);
  if (batch.total_weight) return sum / (*batch.total_weight + kWeightFloor);
  require_whole_step(pairs_of_step(batch), here, "divides by the weights of all pairs of a step");
  return sum / (pairs.weight.sum() + kWeightFloor);
}

/// Sums: valid pairs with chosen above rejected, their gaps, how many there are.
REWARDLOOM_VECTORISED
PassSums pair_rows(const PassPlaces& places, const BradleyTerryOptions& options) {
  const bool has_margin = places.in[2] != nullptr, has_weight = places.in[3] != nullptr;
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        const Floats one = fill(1.0f), weight = has_weight ? rows.in[3] : one;
        const Integers valid = weight != Floats{};
        const auto kept = [&](const Floats& x) __attribute__((always_inline)) {
          return valid ? x : Floats{};
        };
        const Floats chosen = kept(rows.in[0]), rejected = kept(rows.in[1]),
                     margin = kept(rows.in[2]);
        const Dual<2> loss = pair_loss(trained<2>(chosen, 0), trained<2>(rejected, 1),
                                       has_margin ? &margin : nullptr, options);
        PassTerms<2> terms{weight * loss};
        terms.sums[0] = vector_math::one_where(chosen > rejected);
        terms.sums[1] = chosen - rejected;
        terms.sums[2] = kept(one);
        return terms;
      });
}

LossResult in_one_pass(const LossBatch& batch, const Pairs& pairs,
                       const BradleyTerryOptions& options) {
  LossPass pass({pairs.chosen, pairs.rejected, pairs.margin, pairs.weight}, {}, {.trained = 2});
  pass.set(pair_rows(pass.places(), options));
  const double count = std::max(1.0, pass.sum_of(2));
  return {reduced(batch, pairs, pass.sum(), options.reduce),
          {{"accuracy", logged_number(pass.sum_of(0) / count)},
           {"gap", logged_number(pass.sum_of(1) / count)}}};
}

LossResult on_tensors(const LossBatch& batch, Pairs pairs, const BradleyTerryOptions& options) {
  at::Tensor valid = at::ones_like(pairs.chosen, at::kBool);
  if (pairs.weight.defined()) {
    valid = pairs.weight.ne(0);
    const at::Tensor zero = at::zeros({}, pairs.chosen.options().requires_grad(false));
    for (at::Tensor* const x : {&pairs.chosen, &pairs.rejected, &pairs.margin}) {
      if (x->defined()) *x = at::where(valid, *x, zero);
    }
  }
  at::Tensor losses = pair_loss(pairs.chosen, pairs.rejected,
                                pairs.margin.defined() ? &pairs.margin : nullptr, options);
  if (pairs.weight.defined()) losses = pairs.weight * losses;
  const at::Tensor gap = (pairs.chosen - pairs.rejected).detach();
  const at::Tensor count = valid.sum().clamp_min(1).to(gap.scalar_type());
  return {
      reduced(batch, pairs, losses.sum(), options.reduce),
      {{"accuracy", (gap > 0).sum().to(gap.scalar_type()) / count}, {"gap", gap.sum() / count}}};
}

}  // namespace

LossResult bradley_terry_loss(const LossBatch& batch, const BradleyTerryOptions& options) {
  const Pairs pairs = pairs_of(batch, options);
  const bool fits = fits_row_pass({pairs.chosen, pairs.rejected, pairs.margin, pairs.weight});
  return fits ? in_one_pass(batch, pairs, options) : on_tensors(batch, pairs, options);
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
