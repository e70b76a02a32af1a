// The arguments that losses on the ratio of the current to the old policy share.
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/token_rows.h"
#include "nodes/loss/aggregate.h"

namespace rewardloom {

/// What a ratio loss works on: 0 outside the mask, and only `log_probs` with gradient.
struct PolicyRows {
  at::Tensor mask;           ///< [N,T] bool
  at::Tensor log_probs;      ///< [N,T]
  at::Tensor old_log_probs;  ///< [N,T]
  at::Tensor advantages;     ///< [N,T]

  at::Tensor log_ratio() const { return log_probs - old_log_probs; }
  /// Tokens of each row, at least 1: [N].
  at::Tensor lengths() const { return row_lengths(mask).clamp_min(1).to(log_probs.scalar_type()); }
};

/// Failure `bad-shape`, `loss-argument-missing`.
PolicyRows policy_rows(const LossBatch& batch);
/// As above, but with what stands outside the mask: for passes that mask by themselves.
PolicyRows unmasked_policy_rows(const LossBatch& batch);

/// The arguments as members of a loss node.
struct PolicyArguments {
  explicit PolicyArguments(LossNode* node)
      : log_probs_(node, "log_probs", "N,T", "current policy", {.differentiable = true}),
        old_log_probs_(node, "old_log_probs", "N,T", "policy at the start of the step"),
        advantages_(Argument::with_port<Advantages>(
            node, "advantages", "N,*",
            "[N] for all tokens of a row, or [N,T]; else the optimizer's")),
        mask_(node, "mask", "N,T", "action tokens") {}

 private:
  Argument log_probs_, old_log_probs_, advantages_, mask_;
};

}  // namespace rewardloom
