// Preference losses on denoising errors of a trained and a frozen diffusion model.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class DenoiseKind { dpo, soft_dpo, kto };
constexpr auto choices(DenoiseKind) {
  return std::to_array<Choice<DenoiseKind>>({
      {DenoiseKind::dpo, "dpo", "-log sigmoid(d) of a pair (arXiv:2311.12908)"},
      {DenoiseKind::soft_dpo, "soft_dpo", "the same with a soft label (RPO, arXiv:2407.12164)"},
      {DenoiseKind::kto, "kto", "single images, each desirable or not (arXiv:2404.04465)"},
  });
}

enum class DenoiseOffset { class_means, batch_mean, none };
constexpr auto choices(DenoiseOffset) {
  return std::to_array<Choice<DenoiseOffset>>({
      {DenoiseOffset::class_means, "class_means", "mean of the two classes' mean gains"},
      {DenoiseOffset::batch_mean, "batch_mean", "mean gain of all rows, at least 0"},
      {DenoiseOffset::none, "none", "0"},
  });
}

enum class Utility { sigmoid, loss_averse, risk_seeking_1, risk_seeking_2, risk_seeking_3 };
constexpr auto choices(Utility) {
  return std::to_array<Choice<Utility>>({
      {Utility::sigmoid, "sigmoid", "sigmoid(x): averse to risk in gains, seeking in losses"},
      {Utility::loss_averse, "loss_averse", "log sigmoid(x)"},
      {Utility::risk_seeking_1, "risk_seeking_1", "-y log sigmoid(-beta g), y = +-1"},
      {Utility::risk_seeking_2, "risk_seeking_2", "y exp(beta g / 100) - 1, y = +-1"},
      {Utility::risk_seeking_3, "risk_seeking_3", "-log sigmoid(-x)"},
  });
}

struct DenoisePairOptions {
  DenoiseKind kind = DenoiseKind::kto;
  double beta = 1000;
  DenoiseOffset kl_offset = DenoiseOffset::class_means;
  Utility utility = Utility::sigmoid;
  double weight_desirable = 1;
  double weight_undesirable = 1;
  double similar = 0;  ///< dpo kinds: times the mean of chosen_error
};

/// kto: error, ref_error [N] (mean squared errors of one sample each), desirable [N] bool; g =
/// ref_error - error - offset (a constant); loss [] = mean over the step's rows of weight (1 -
/// utility(+-beta g)); kl, accuracy []. Failure `not-separable` where an offset gets a part of a
/// step.
/// dpo kinds: chosen_error, rejected_error, ref_chosen_error, ref_rejected_error [N], label [N] for
/// soft_dpo; d = beta ((ref_chosen - chosen) - (ref_rejected - rejected)); loss [] = mean over the
/// step's pairs; accuracy, margin [].
LossResult denoise_pair_loss(const LossBatch& batch, const DenoisePairOptions& options);

}  // namespace rewardloom
