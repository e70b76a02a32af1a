// The log-ratio between the trainer and the sampler, which corrections and monitors of off-policy
// data share.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/port_types.h"

namespace rewardloom {

/// Log-probs of the same tokens as they were given: outside the mask they may be anything.
struct SampledLogProbs {
  at::Tensor log_probs;           ///< [N,T] of the trainer
  at::Tensor behavior_log_probs;  ///< [N,T] of the sampler, same type and device
  at::Tensor mask;                ///< [N,T] bool
};

/// The mask is that of either LogProbs, else of the completions, which may also carry the sampler's
/// log-probs. Failure `no-behavior-log-probs`, `no-mask`, `bad-shape` where rows or tokens differ.
SampledLogProbs sampled_log_probs(const LogProbs& current, const LogProbs* behavior,
                                  const Completions* completions);

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
