// Listwise preference losses on groups of answers.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class RankingForm { top1, full };
constexpr auto choices(RankingForm) {
  return std::to_array<Choice<RankingForm>>({
      {RankingForm::top1, "top1", "cross-entropy of softmax(scores) to softmax(rewards / tau)"},
      {RankingForm::full, "full", "the same on every tail of the group sorted by reward"},
  });
}

struct GroupRankingOptions {
  RankingForm form = RankingForm::full;
  double tau = 0.05;  ///< 0: the best of each tail is the whole target
};

/// Group-level preference optimisation (GDRO, arXiv:2601.02036). scores, rewards [N], group [N]
/// int64
/// -> loss [] (mean over groups); accuracy [] (share of groups in which a row of the best reward
/// has the best score). Rows of equal reward: Efron's rule (J. Am. Stat. Assoc. 72, 1977); of d of
/// them, the l-th tail that begins among them holds (d - l) / d of each. A part of a step must hold
/// whole groups and needs total_weight, the step's number of groups; else Failure `not-separable`.
LossResult group_ranking_loss(const LossBatch& batch, const GroupRankingOptions& options);

}  // namespace rewardloom
