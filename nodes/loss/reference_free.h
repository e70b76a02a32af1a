// Preference losses without a reference: SimPO, CPO, ORPO.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <utility>

#include "engine/core/node.h"

namespace rewardloom {

enum class SimpoVariant { simpo, sigmoid, hinge, ipo };
constexpr auto choices(SimpoVariant) {
  return std::to_array<Choice<SimpoVariant>>({
      {SimpoVariant::simpo, "simpo", "-log sigmoid(beta d - gamma) (SimPO)"},
      {SimpoVariant::sigmoid, "sigmoid", "-log sigmoid(beta d) (CPO, arXiv:2401.08417)"},
      {SimpoVariant::hinge, "hinge", "max(0, 1 - beta d)"},
      {SimpoVariant::ipo, "ipo", "(d - 1 / (2 beta))^2"},
  });
}

struct SimpoOptions {
  SimpoVariant variant = SimpoVariant::simpo;
  double beta = 2;
  double gamma = 0.5;
  double label_smoothing = 0;
  double alpha = 0;            ///< AlphaPO: reward (1 - p^-alpha) / alpha; 0: log p
  double nll_coefficient = 0;  ///< times the mean of -chosen_log_probs
};

/// chosen_log_probs and rejected_log_probs [N]; with `averages` and chosen_lengths,
/// rejected_lengths [N] given they are sums, which are divided by the lengths (at least 1).
std::pair<at::Tensor, at::Tensor> pair_log_probs(const LossBatch& batch, bool averages);

/// chosen_log_probs, rejected_log_probs [N], averaged over tokens (SimPO) or summed (CPO) -> loss
/// [] (mean over the step's pairs); losses [N] (without the NLL term), accuracy, margin [].
LossResult simpo_loss(const LossBatch& batch, const SimpoOptions& options);

/// -coefficient log sigmoid(log odds of chosen - log odds of rejected) (Hong et al. 2024,
/// arXiv:2403.07691). chosen_log_probs, rejected_log_probs [N] < 0, averaged over tokens -> loss []
/// (mean over the step's pairs; to be added to the NLL of the chosen answers); log_odds [N],
/// accuracy
/// [].
LossResult orpo_loss(const LossBatch& batch, double coefficient);

}  // namespace rewardloom
