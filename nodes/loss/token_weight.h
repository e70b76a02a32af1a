// Policy losses that soften or detach the ratio of each token: CISPO, SAPO.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "nodes/loss/aggregate.h"

namespace rewardloom {

enum class RatioBound { relative, absolute };
constexpr auto choices(RatioBound) {
  return std::to_array<Choice<RatioBound>>({
      {RatioBound::relative, "relative", "the ratio is at most 1 + high (verl)"},
      {RatioBound::absolute, "absolute", "the ratio is at most `high` itself (TRL epsilon_high)"},
  });
}

struct CispoOptions {
  std::optional<double> low = 0.2;  ///< the ratio is at least 1 - low
  double high = 0.2;
  RatioBound bound = RatioBound::relative;
  std::optional<double> log_ratio_clamp = 20.0;
  AggregateOptions aggregate = {};
};

/// -clamp(ratio) A log_probs per token, the clamped ratio a constant (MiniMax-M1,
/// arXiv:2506.13585). Arguments as PolicyRows -> loss []; clip_fraction, approx_kl [].
LossResult cispo_loss(const LossBatch& batch, const CispoOptions& options);

struct SapoOptions {
  double tau_positive = 1.0;   ///< where A > 0
  double tau_negative = 1.05;  ///< where A <= 0
  std::optional<double> log_ratio_clamp = 20.0;
  AggregateOptions aggregate = {};
};

/// -A sigmoid(tau (ratio - 1)) 4 / tau per token (arXiv:2511.20347). Arguments as PolicyRows ->
/// loss []; approx_kl [].
LossResult sapo_loss(const LossBatch& batch, const SapoOptions& options);

}  // namespace rewardloom
