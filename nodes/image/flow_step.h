// One denoising step of a rectified flow and the log-probability of what it drew: x_sigma = (1 -
// sigma) x0 + sigma n, the model gives v = n - x0, sigma falls from 1 to 0.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class FlowKind { sde, cps, ode };
constexpr auto choices(FlowKind) {
  return std::to_array<Choice<FlowKind>>({
      {FlowKind::sde, "sde", "stochastic (Flow-GRPO, arXiv:2505.05470)"},
      {FlowKind::cps, "cps", "coefficients preserved (Flow-CPS, arXiv:2509.05952)"},
      {FlowKind::ode, "ode", "the Euler step, nothing is drawn"},
  });
}

enum class FlowLogProb { gaussian, no_constants };
constexpr auto choices(FlowLogProb) {
  return std::to_array<Choice<FlowLogProb>>({
      {FlowLogProb::gaussian, "gaussian", "log-density of the normal distribution"},
      {FlowLogProb::no_constants, "no_constants", "-(x' - mean)^2 alone, as Adv-GRPO has it"},
  });
}

struct FlowStepOptions {
  FlowKind kind = FlowKind::sde;
  double noise_level = 0.7;
  FlowLogProb log_prob = FlowLogProb::gaussian;
};

struct FlowStep {
  at::Tensor mean;  ///< [N,...]
  at::Tensor
      std;  ///< [N] sde: before the factor sqrt(sigma - sigma_next); cps: of the noise; ode: 0
  at::Tensor scale;  ///< [N] of the noise in the step
};

/// Where the step leads before noise is added. sample, velocity [N,...], sigma > sigma_next >= 0
/// [N], sigma_max: the second sigma of the schedule, for sigma = 1. Differentiable in all tensors.
/// Failure `bad-sigma`, `bad-noise-level` (cps: 0 to 1), `bad-shape`.
FlowStep flow_step(const at::Tensor& sample, const at::Tensor& velocity, const at::Tensor& sigma,
                   const at::Tensor& sigma_next, double sigma_max, const FlowStepOptions& options);

/// mean + scale * noise.
at::Tensor flow_sample(const FlowStep& step, const at::Tensor& noise);

/// [N]: mean over all but the first dimension of the log-probability of `next_sample`. Failure
/// `no-density` for a step without noise (unless no_constants is asked for).
at::Tensor flow_log_prob(const FlowStep& step, const at::Tensor& next_sample, FlowLogProb form);

}  // namespace rewardloom
