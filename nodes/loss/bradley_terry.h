// Pairwise losses of reward models (Bradley and Terry 1952, doi:10.2307/2334029).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class PairForm { logsigmoid, log_eps };
constexpr auto choices(PairForm) {
  return std::to_array<Choice<PairForm>>({
      {PairForm::logsigmoid, "logsigmoid", "-log sigmoid(d)"},
      {PairForm::log_eps, "log_eps", "-log(sigmoid(d) + epsilon), bounded (MOSS-RLHF)"},
  });
}

enum class PairReduce { mean, weighted_mean, weighted_sum_over_valid };
constexpr auto choices(PairReduce) {
  return std::to_array<Choice<PairReduce>>({
      {PairReduce::mean, "mean", "mean over pairs, weights not used"},
      {PairReduce::weighted_mean, "weighted_mean", "sum of weight * loss / number of pairs"},
      {PairReduce::weighted_sum_over_valid, "weighted_sum_over_valid",
       "sum of weight * loss / (sum of weights + 1e-6) (Cooper)"},
  });
}

enum class Strength { none, margin, scale };
constexpr auto choices(Strength) {
  return std::to_array<Choice<Strength>>({
      {Strength::none, "none", "a margin that is given is subtracted from the gap"},
      {Strength::margin, "margin", "the margin is subtracted from the gap"},
      {Strength::scale, "scale", "the margin multiplies the loss (HelpSteer2, arXiv:2410.01257)"},
  });
}

struct BradleyTerryOptions {
  PairForm form = PairForm::logsigmoid;
  double epsilon = 1e-5;  ///< only for log_eps
  double label_smoothing = 0;
  double center = 0;  ///< times (r_c + r_r)^2
  double l2 = 0;      ///< times (r_c^2 + r_r^2)
  PairReduce reduce = PairReduce::mean;
  Strength strength = Strength::none;
};

/// d = chosen - rejected - margin. chosen, rejected [N] rewards; margin [N] or none; weight [N] for
/// the weighted forms, where pairs of weight 0 have no influence whatever their rewards are.
/// -> loss []; accuracy [] (share of pairs with weight, chosen > rejected), gap [] (mean of chosen
/// - rejected). total_pairs (or total_sequences) is the number of pairs of the step; for
/// weighted_sum_over_valid a part of a step needs total_weight, the sum of its weights.
LossResult bradley_terry_loss(const LossBatch& batch, const BradleyTerryOptions& options);

}  // namespace rewardloom
