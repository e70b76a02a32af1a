#include <torch/types.h>

#include <cmath>

#include "nodes/loss/dpo.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// The log-probs of pairs against the reference.
struct Sides {
  at::Tensor policy_gap, reference_gap;  ///< [N] chosen - rejected
  at::Tensor chosen, rejected;           ///< [N] log-ratios
  at::Tensor chosen_score, rejected_score;
  at::Tensor delta() const { return chosen_score - rejected_score; }
};

at::Tensor score(const at::Tensor& x, const DpoOptions& options) {
  const double power = options.alpha - 1;
  switch (options.divergence) {
    case Divergence::forward_kl: return -bounded_exp(-x);
    case Divergence::js_divergence: return at::log_sigmoid(x);
    case Divergence::alpha_divergence:
      if (std::abs(power) < 1e-6) return x;
      return bounded_exp(power * x) / power;
    case Divergence::reverse_kl: break;
  }
  return x;
}

Sides sides_of(const LossBatch& batch, const DpoOptions& options) {
  const at::Tensor chosen = row_argument(batch, "chosen_log_probs");
  const auto like_chosen = [&](const char* name) {
    return argument_like(batch, name, chosen, "chosen_log_probs");
  };
  const at::Tensor rejected = like_chosen("rejected_log_probs");
  at::Tensor ref_chosen = at::zeros_like(chosen.detach());
  at::Tensor ref_rejected = ref_chosen;
  if (!options.reference_free) {
    ref_chosen = like_chosen("ref_chosen_log_probs").detach();
    ref_rejected = like_chosen("ref_rejected_log_probs").detach();
  }
  Sides sides{chosen - rejected,
              ref_chosen - ref_rejected,
              chosen - ref_chosen,
              rejected - ref_rejected,
              {},
              {}};
  sides.chosen_score = score(sides.chosen, options);
  sides.rejected_score = score(sides.rejected, options);
  return sides;
}

/// The gap of scores, per token of each completion where asked.
at::Tensor normalised_delta(const LossBatch& batch, const Sides& sides, bool normalise) {
  if (!normalise) return sides.delta();
  const auto lengths = [&](const char* name) {
    return argument_like(batch, name, sides.chosen, "chosen_log_probs")
        .clamp_min(1)
        .to(sides.chosen.scalar_type());
  };
  return sides.chosen_score / lengths("chosen_lengths") -
         sides.rejected_score / lengths("rejected_lengths");
}

at::Tensor exo_pair(const at::Tensor& logits, double smoothing) {
  if (smoothing <= 0) {
    throw Failure("label-smoothing", "exo_pair has label_smoothing 0, so its loss is infinite",
                  "set label_smoothing above 0, e.g. 0.001");
  }
  const at::Tensor log_right = at::log_sigmoid(logits), log_wrong = at::log_sigmoid(-logits);
  return logits.sigmoid() * (log_right - std::log1p(-smoothing)) +
         (-logits).sigmoid() * (log_wrong - std::log(smoothing));
}

at::Tensor robust(const at::Tensor& logits, double flipped) {
  if (flipped >= 0.5) {
    throw Failure("label-smoothing", "robust has label_smoothing 0.5: the labels say nothing",
                  "set label_smoothing below 0.5");
  }
  const at::Tensor clean = logistic_loss(logits), wrong = logistic_loss(-logits);
  return ((1 - flipped) * clean - flipped * wrong) / (1 - 2 * flipped);
}

at::Tensor discopop(const at::Tensor& logits, double tau) {
  const at::Tensor logistic = logistic_loss(logits) * (-logits / tau).sigmoid();
  // exp(-x) sigmoid(x / tau) in one exponential: its factors alone would be inf * 0.
  return logistic + bounded_exp(at::log_sigmoid(logits / tau) - logits);
}

at::Tensor bco_pair(const LossBatch& batch, const Sides& sides, const DpoOptions& options) {
  at::Tensor chosen = options.beta * sides.chosen_score;
  at::Tensor rejected = options.beta * sides.rejected_score;
  if (options.bco_delta == BcoDelta::batch_mean) {
    require_whole_step(pairs_of_step(batch), static_cast<double>(chosen.size(0)),
                       "subtracts the mean reward of all pairs of a step");
    const at::Tensor delta = 0.5 * (chosen.mean() + rejected.mean()).detach();
    chosen = chosen - delta;
    rejected = rejected - delta;
  }
  return logistic_loss(chosen) + logistic_loss(-rejected);
}

at::Tensor sorted_gap(const LossBatch& batch, const at::Tensor& high, const at::Tensor& low) {
  require_whole_step(pairs_of_step(batch), static_cast<double>(high.size(0)),
                     "sorts over all pairs of a step");
  return std::get<0>(high.sort(0)) - std::get<0>(low.sort(0));
}

/// Losses on beta times the gap of scores alone.
at::Tensor gap_loss(const at::Tensor& logits, const DpoOptions& options) {
  switch (options.variant) {
    case DpoVariant::hinge: return (1 - logits).relu();
    case DpoVariant::exo_pair: return exo_pair(logits, options.label_smoothing);
    case DpoVariant::robust: return robust(logits, options.label_smoothing);
    case DpoVariant::discopop: return discopop(logits, options.discopop_tau);
    default: return logistic_loss(logits, options.label_smoothing);
  }
}

at::Tensor losses_of(const LossBatch& batch, const Sides& sides, const DpoOptions& options) {
  const double beta = options.beta;
  const double smoothing = options.label_smoothing;
  switch (options.variant) {
    case DpoVariant::ipo:
      return (normalised_delta(batch, sides, options.length_normalise) - 0.5 / beta).square();
    case DpoVariant::sigmoid_norm:
      return logistic_loss(beta * normalised_delta(batch, sides, options.length_normalise));
    case DpoVariant::nca_pair:
      return logistic_loss(beta * sides.chosen_score) +
             0.5 * logistic_loss(-beta * sides.chosen_score) +
             0.5 * logistic_loss(-beta * sides.rejected_score);
    case DpoVariant::bco_pair: return bco_pair(batch, sides, options);
    case DpoVariant::sppo_hard:
      return (sides.chosen_score - 0.5 / beta).square() +
             (sides.rejected_score + 0.5 / beta).square();
    case DpoVariant::aot:
      return logistic_loss(beta * sorted_gap(batch, sides.policy_gap, sides.reference_gap),
                           smoothing);
    case DpoVariant::aot_unpaired:
      return logistic_loss(beta * sorted_gap(batch, sides.chosen, sides.rejected), smoothing);
    case DpoVariant::apo_zero:
      return (-beta * sides.chosen).sigmoid() + (beta * sides.rejected).sigmoid();
    case DpoVariant::apo_down:
      return (beta * sides.chosen).sigmoid() + (-beta * sides.delta()).sigmoid();
    default: return gap_loss(beta * sides.delta(), options);
  }
}

}  // namespace

LossResult dpo_loss(const LossBatch& batch, const DpoOptions& options) {
  const Sides sides = sides_of(batch, options);
  const at::Tensor losses = losses_of(batch, sides, options);
  const at::Tensor chosen = options.beta * sides.chosen.detach();
  const at::Tensor rejected = options.beta * sides.rejected.detach();
  LossResult result;
  result.loss = pair_mean(losses, batch);
  result.outputs = {{"losses", losses.detach()},
                    {"chosen_rewards", chosen},
                    {"rejected_rewards", rejected},
                    {"accuracy", (chosen > rejected).to(chosen.scalar_type()).mean()},
                    {"margin", (chosen - rejected).mean()}};
  return result;
}

}  // namespace rewardloom
