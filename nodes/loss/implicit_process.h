// Process reward models trained from outcomes alone, through log-ratios of a policy.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class ProcessForm { ce, pairs_mean, pairs_sum };
constexpr auto choices(ProcessForm) {
  return std::to_array<Choice<ProcessForm>>({
      {ProcessForm::ce, "ce", "cross-entropy of sigmoid(beta * sum over tokens) (PRIME)"},
      {ProcessForm::pairs_mean, "pairs_mean",
       "success against failure, mean over a trajectory's turns (iStar's code)"},
      {ProcessForm::pairs_sum, "pairs_sum",
       "success against failure, sum over a trajectory's turns (iStar's paper)"},
  });
}

struct ImplicitProcessOptions {
  double beta = 0.05;
  ProcessForm form = ProcessForm::ce;
};

/// log_ratio, mask [N,T], outcome [N] in 0..1 -> loss [].
/// ce (Cui et al. 2025, arXiv:2502.01456): mean over rows with tokens; score [N].
/// pairs_* (arXiv:2509.19199): rows are turns of `trajectory` [N] int64 in `group` [N] int64; mean
/// of -log sigmoid(Q+ - Q-) over the pairs of a successful and a failed trajectory (outcome above
/// 0.5 or not) of a group, 0 without pairs; accuracy, pairs []. A part of a step must hold whole
/// groups and needs total_pairs. Failure `outcome-varies` where a trajectory has two outcomes,
/// `not-separable`.
LossResult implicit_process_loss(const LossBatch& batch, const ImplicitProcessOptions& options);

}  // namespace rewardloom
