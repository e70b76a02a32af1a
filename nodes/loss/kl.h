// Estimates of the KL divergence from samples (Schulman 2020, joschu.net/blog/kl-approx.html).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>

#include "engine/core/node.h"

namespace rewardloom {

enum class KlEstimator { k1, abs, k2, k3, k1_straight, k3_straight };
constexpr auto choices(KlEstimator) {
  return std::to_array<Choice<KlEstimator>>({
      {KlEstimator::k1, "k1", "x = log_probs - ref_log_probs; unbiased, may be negative"},
      {KlEstimator::abs, "abs", "|x|"},
      {KlEstimator::k2, "k2", "x^2 / 2; its gradient is that of the KL divergence"},
      {KlEstimator::k3, "k3", "exp(-x) - 1 + x; unbiased, never negative"},
      {KlEstimator::k1_straight, "k1+", "the value of k1 with the gradient of k2"},
      {KlEstimator::k3_straight, "k3+", "the value of k3 with the gradient of k2"},
  });
}

struct KlOptions {
  KlEstimator estimator = KlEstimator::k3;
  std::optional<double> input_clamp = 20.0;   ///< on the log-ratio, before the estimator
  std::optional<double> output_clamp = 10.0;  ///< on the result
};

/// Per-token estimates. log_probs and ref_log_probs [N,T], weights [N,T] or undefined (multiplied
/// in before the output clamp) -> [N,T]. Where a clamp is active the gradient is 0; the
/// straight-through estimators take the gradient of k2 without clamps.
at::Tensor kl_estimate(const at::Tensor& log_probs, const at::Tensor& ref_log_probs,
                       const at::Tensor& weights, const KlOptions& options);

}  // namespace rewardloom
