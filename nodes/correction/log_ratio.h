// The log-ratio between the trainer and the sampler, which corrections and monitors of off-policy
// data share.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/port_types.h"

namespace rewardloom {

/// log_probs - behavior_log_probs, 0 outside the mask, both [N,T]. The mask is that of either
/// LogProbs, else of the completions; Failure `no-mask` without any, `bad-shape` where rows or
/// tokens differ.
struct LogRatio {
  at::Tensor log_probs;           ///< [N,T], 0 outside the mask
  at::Tensor behavior_log_probs;  ///< [N,T], 0 outside the mask
  at::Tensor mask;                ///< [N,T] bool
  LogRatio(const LogProbs& current, const LogProbs* behavior, const Completions* completions);

  at::Tensor ratio() const { return log_probs - behavior_log_probs; }
  /// [N] tokens per row.
  at::Tensor lengths() const;
};

}  // namespace rewardloom
