// From noise to images along a rectified flow, with the log-probabilities of the stochastic steps.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/core/step.h"
#include "nodes/image/flow_net.h"
#include "nodes/image/flow_step.h"

namespace rewardloom {

struct FlowSampling {
  std::int64_t steps = 10;
  std::int64_t stochastic_steps = 2;  ///< the first ones; the others are Euler steps
  FlowStepOptions step;
  double guidance = 1;  ///< see guided_velocity
};

/// Sigmas [T+1] from 1 to 0 in equal steps, double.
at::Tensor flow_sigmas(std::int64_t steps);

/// A step of the flow at row-wise sigmas: samples x [N,C,H,W], index [N] int64 of the step in
/// `sigmas` [T+1], velocity [N,C,H,W].
FlowStep flow_step_at(const at::Tensor& x, const at::Tensor& velocity, const at::Tensor& sigmas,
                      const at::Tensor& index, const FlowStepOptions& options);

struct FlowSamples {
  at::Tensor images;     ///< [N,C,H,W]
  at::Tensor before;     ///< [N,S,C,H,W] x before each stochastic step
  at::Tensor after;      ///< [N,S,C,H,W] and after it
  at::Tensor log_probs;  ///< [N,S]
};

/// labels [N] int64. The start noise of row r is row_normals(stream, r, 0), the noise of step t
/// that of token t + 1.
FlowSamples sample_flow(Step& step, const FlowNet& net, const at::Tensor& labels,
                        const FlowSampling& sampling);

}  // namespace rewardloom
