// V-trace (Espeholt et al. 2018, arXiv:1802.01561).
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/episodes.h"

namespace rewardloom {

struct VtraceOptions {
  double gamma = 0.99;
  double rho_clip = 1.0;
  double c_clip = 1.0;
};

/// What the estimator reads besides rewards and ends; all [N,T].
struct VtraceInputs {
  at::Tensor log_probs;           ///< of the policy that is trained
  at::Tensor behavior_log_probs;  ///< of the policy that acted
  at::Tensor values;
  at::Tensor next_values;
};

struct VtraceResult {
  at::Tensor advantages;  ///< [N,T] rho_t (r_t + gamma v_{t+1} - V_t)
  at::Tensor targets;     ///< [N,T] v_t
};

/// v_t = V_t + delta_t + gamma c_t (v_{t+1} - V_{t+1}), delta_t = rho_t (r_t + gamma V(next) -
/// V_t), with the ratios clipped from above (equation 1 and remark 1). Where a row or an episode
/// ends, the advantage takes next_values for v_{t+1}; nothing follows a terminated step. Steps
/// outside the mask are stepped over and 0. Failure `bad-shape`.
VtraceResult vtrace(const Episodes& episodes, const VtraceInputs& inputs,
                    const VtraceOptions& options, const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
VtraceResult vtrace_by_scan(const Episodes& episodes, const VtraceInputs& inputs,
                            const VtraceOptions& options);

}  // namespace rewardloom
