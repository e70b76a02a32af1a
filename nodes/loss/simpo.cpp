#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/reference_free.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

at::Tensor reward_of(const at::Tensor& log_probs, double alpha) {
  if (alpha == 0) return log_probs;
  return -(-alpha * log_probs).clamp_max(80).expm1() / alpha;
}

/// X is a tensor or a dual number of some pairs.
template <class X>
REWARDLOOM_INLINE X losses_of(const X& gap, const SimpoOptions& options) {
  switch (options.variant) {
    case SimpoVariant::hinge: return relu(1 - options.beta * gap);
    case SimpoVariant::ipo: return square(gap - 0.5 / options.beta);
    case SimpoVariant::sigmoid: return logistic_loss(options.beta * gap, options.label_smoothing);
    case SimpoVariant::simpo: break;
  }
  return logistic_loss(options.beta * gap - options.gamma, options.label_smoothing);
}

/// Sums: gaps above 0, gaps.
REWARDLOOM_VECTORISED
PassSums simpo_rows(const PassPlaces& places, const SimpoOptions& options) {
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        const Dual<2> gap = trained<2>(rows.in[0], 0) - trained<2>(rows.in[1], 1);
        PassTerms<2> terms{losses_of(gap, options)};
        terms.sums[0] = vector_math::one_where(gap.value > vector_math::Floats{});
        terms.sums[1] = gap.value;
        return terms;
      });
}

LossResult in_one_pass(const LossBatch& batch, const at::Tensor& chosen, const at::Tensor& rejected,
                       const SimpoOptions& options) {
  LossPass pass({chosen, rejected}, {}, {.trained = 2, .losses = true});
  pass.set(simpo_rows(pass.places(), options));
  return {pair_mean_of(pass.sum(), pass.rows(), batch),
          {{"losses", pass.losses()},
           {"accuracy", logged_number(pass.mean_of(0))},
           {"margin", logged_number(options.beta * pass.mean_of(1))}}};
}

LossResult on_tensors(const LossBatch& batch, const at::Tensor& chosen, const at::Tensor& rejected,
                      const SimpoOptions& options) {
  const at::Tensor gap = reward_of(chosen, options.alpha) - reward_of(rejected, options.alpha);
  const at::Tensor losses = losses_of(gap, options);
  const at::Tensor d = gap.detach();
  return {pair_mean(losses, batch),
          {{"losses", losses.detach()},
           {"accuracy", plain_mean((d > 0).to(d.scalar_type()))},
           {"margin", options.beta * plain_mean(d)}}};
}

}  // namespace

LossResult simpo_loss(const LossBatch& batch, const SimpoOptions& options) {
  // CPO's own forms take sums (arXiv:2401.08417), the others means.
  const bool averages =
      options.variant == SimpoVariant::simpo || options.variant == SimpoVariant::ipo;
  const auto [chosen, rejected] = pair_log_probs(batch, averages);
  const bool fits = options.alpha == 0 && fits_row_pass({chosen, rejected});
  LossResult result = fits ? in_one_pass(batch, chosen, rejected, options)
                           : on_tensors(batch, chosen, rejected, options);
  if (options.nll_coefficient != 0) {
    result.loss = result.loss + options.nll_coefficient * pair_mean(-chosen, batch);
  }
  return result;
}

struct Simpo final : LossNode {
  Argument chosen_log_probs{this,
                            "chosen_log_probs",
                            "N",
                            "averaged over completion tokens (simpo) or summed (sigmoid); with "
                            "lengths always summed",
                            {.differentiable = true}};
  Argument rejected_log_probs{
      this, "rejected_log_probs", "N", "as chosen_log_probs", {.differentiable = true}};
  Argument chosen_lengths{this,
                          "chosen_lengths",
                          "N",
                          "completion tokens: simpo and ipo then divide the sums by them",
                          {.optional = true}};
  Argument rejected_lengths{this, "rejected_lengths", "N", "as chosen_lengths", {.optional = true}};
  Param<SimpoVariant> variant{this, "variant", SimpoVariant::simpo, "which loss"};
  Param<double> beta{this, "beta", 2.0, "factor of the gap", {.min = 0, .exclusive_min = true}};
  Param<double> gamma{this, "gamma", 0.5, "simpo: margin that beta times the gap should reach"};
  Param<double> label_smoothing{this,
                                "label_smoothing",
                                0.0,
                                "share of labels that are taken to be wrong (simpo, sigmoid)",
                                {.min = 0, .max = 0.5}};
  Param<double> alpha{this, "alpha", 0.0,
                      "AlphaPO: reward (1 - p^-alpha) / alpha instead of log p"};
  Param<double> nll_coefficient{
      this, "nll_coefficient", 0.0, "factor of the mean of -chosen_log_probs (CPO)", {.min = 0}};
  Synonyms words{this, {"SimPO", "CPO", "AlphaPO", "reference-free", "preference optimisation"}};
  Doc doc{this,
          "d = reward(chosen) - reward(rejected) [N], reward = log_probs, or (1 - p^-alpha) / "
          "alpha; simpo: pair loss = -log sigmoid(beta d - gamma); loss = mean over the step's "
          "pairs.\n"
          "losses [N]: per pair; accuracy: share with d > 0; margin: mean of beta d."};

  LossResult evaluate(const LossBatch& batch) const override {
    return simpo_loss(batch,
                      {variant(), beta(), gamma(), label_smoothing(), alpha(), nll_coefficient()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Simpo, "Reference-free preference loss (SimPO, CPO)", "arXiv:2405.14734")
