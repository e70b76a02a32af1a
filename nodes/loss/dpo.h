// Direct preference losses (Rafailov et al. 2023, arXiv:2305.18290) and their variants.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class DpoVariant {
  sigmoid,
  hinge,
  ipo,
  exo_pair,
  nca_pair,
  robust,
  bco_pair,
  sppo_hard,
  aot,
  aot_unpaired,
  apo_zero,
  apo_down,
  discopop,
  sigmoid_norm
};
constexpr auto choices(DpoVariant) {
  return std::to_array<Choice<DpoVariant>>({
      {DpoVariant::sigmoid, "sigmoid", "-log sigmoid(beta d); smoothed: conservative DPO"},
      {DpoVariant::hinge, "hinge", "max(0, 1 - beta d) (SLiC, arXiv:2305.10425)"},
      {DpoVariant::ipo, "ipo", "(d - 1 / (2 beta))^2 (arXiv:2310.12036)"},
      {DpoVariant::exo_pair, "exo_pair", "reverse KL to the smoothed label (arXiv:2402.00856)"},
      {DpoVariant::nca_pair, "nca_pair", "noise contrastive alignment (arXiv:2402.05369)"},
      {DpoVariant::robust, "robust",
       "unbiased where label_smoothing of the labels are flipped (arXiv:2403.00409)"},
      {DpoVariant::bco_pair, "bco_pair", "binary classification of each answer (arXiv:2404.04656)"},
      {DpoVariant::sppo_hard, "sppo_hard", "log-ratios towards +-1 / (2 beta) (arXiv:2405.00675)"},
      {DpoVariant::aot, "aot", "sorted gaps of policy against reference (arXiv:2406.05882)"},
      {DpoVariant::aot_unpaired, "aot_unpaired", "sorted log-ratios of chosen against rejected"},
      {DpoVariant::apo_zero, "apo_zero", "chosen up, rejected down (arXiv:2408.06266)"},
      {DpoVariant::apo_down, "apo_down", "chosen down, rejected further down (arXiv:2408.06266)"},
      {DpoVariant::discopop, "discopop",
       "blend of logistic and exponential loss (arXiv:2406.08414)"},
      {DpoVariant::sigmoid_norm, "sigmoid_norm", "sigmoid on length-normalised scores"},
  });
}

enum class Divergence { reverse_kl, forward_kl, js_divergence, alpha_divergence };
constexpr auto choices(Divergence) {
  return std::to_array<Choice<Divergence>>({
      {Divergence::reverse_kl, "reverse_kl", "score = log-ratio x"},
      {Divergence::forward_kl, "forward_kl", "score = -exp(-x)"},
      {Divergence::js_divergence, "js_divergence", "score = log sigmoid(x)"},
      {Divergence::alpha_divergence, "alpha_divergence",
       "score = exp((alpha - 1) x) / (alpha - 1); alpha = 1: x"},
  });
}

enum class BcoDelta { none, batch_mean };
constexpr auto choices(BcoDelta) {
  return std::to_array<Choice<BcoDelta>>({
      {BcoDelta::none, "none", "nothing is subtracted (TRL 1.x)"},
      {BcoDelta::batch_mean, "batch_mean", "the mean of beta score over the step is subtracted"},
  });
}

struct DpoOptions {
  DpoVariant variant = DpoVariant::sigmoid;
  double beta = 0.1;
  double label_smoothing = 0;
  Divergence divergence = Divergence::reverse_kl;
  double alpha = 0.5;
  double discopop_tau = 0.05;
  bool length_normalise = true;
  BcoDelta bco_delta = BcoDelta::none;
  bool reference_free = false;
};

/// chosen_log_probs, rejected_log_probs [N] summed over completion tokens; ref_chosen_log_probs,
/// ref_rejected_log_probs [N] (not for reference_free); chosen_lengths, rejected_lengths [N] int64
/// for ipo and sigmoid_norm with length_normalise -> loss [] (mean over the step's pairs); losses,
/// chosen_rewards, rejected_rewards [N] (beta * log-ratio), accuracy, margin [].
/// Failure `label-smoothing` where exo_pair has none, `not-separable` where aot, aot_unpaired or
/// bco_delta get a part of a step.
LossResult dpo_loss(const LossBatch& batch, const DpoOptions& options);

}  // namespace rewardloom
