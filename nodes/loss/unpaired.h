// Preference losses on single answers, each desirable or not: KTO, BCO.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class KtoVariant { kto, apo_zero_unpaired };
constexpr auto choices(KtoVariant) {
  return std::to_array<Choice<KtoVariant>>({
      {KtoVariant::kto, "kto", "around the reference point z: 1 - sigmoid(+-beta (x - z))"},
      {KtoVariant::apo_zero_unpaired, "apo_zero_unpaired", "around 0 (arXiv:2408.06266)"},
  });
}

enum class KtoKl { mismatched, class_means, batch_mean, none };
constexpr auto choices(KtoKl) {
  return std::to_array<Choice<KtoKl>>({
      {KtoKl::mismatched, "mismatched",
       "mean log-ratio of mismatched completions, at least 0, constant (TRL)"},
      {KtoKl::class_means, "class_means",
       "mean log-ratio of the other class, at least 0, with gradient (OpenRLHF)"},
      {KtoKl::batch_mean, "batch_mean", "mean log-ratio of all rows, at least 0, constant"},
      {KtoKl::none, "none", "0"},
  });
}

struct KtoOptions {
  KtoVariant variant = KtoVariant::kto;
  double beta = 0.1;
  double desirable_weight = 1;
  double undesirable_weight = 1;
  KtoKl kl = KtoKl::mismatched;
};

/// Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306). log_probs,
/// ref_log_probs [N] summed over tokens, desirable [N] bool; kl_log_probs, ref_kl_log_probs [M] of
/// the whole step for `mismatched` -> loss [] (mean over the step's rows); kl [], rewards [N].
/// Failure `not-separable` where class_means or batch_mean get a part of a step.
LossResult kto_loss(const LossBatch& batch, const KtoOptions& options);

enum class RewardShift { batch_mean, given };
constexpr auto choices(RewardShift) {
  return std::to_array<Choice<RewardShift>>({
      {RewardShift::batch_mean, "batch_mean", "the mean reward of the step"},
      {RewardShift::given, "given", "the argument delta, e.g. a running mean"},
  });
}

struct BcoOptions {
  double beta = 0.1;
  RewardShift delta = RewardShift::batch_mean;
};

/// Binary classifier optimisation (Jung et al. 2024, arXiv:2404.04656). Rows as in `kto_loss`,
/// delta
/// [] where it is given -> loss [] (mean over the step's rows); delta [], rewards [N].
/// Failure `not-separable` where batch_mean gets a part of a step.
LossResult bco_loss(const LossBatch& batch, const BcoOptions& options);

/// Rows of an unpaired loss, [N] each: the reference is a constant, desirable bool.
struct UnpairedRows {
  at::Tensor log_probs;
  at::Tensor reference;
  at::Tensor desirable;
};
/// Failure `bad-shape`, `loss-argument-missing`.
UnpairedRows unpaired_rows(const LossBatch& batch);

/// Mean of values [N] over `rows` [N] bool, 0 where there are none -> [].
at::Tensor mean_over(const at::Tensor& values, const at::Tensor& rows);

/// Mean of a - b, [N] each, constant -> [].
at::Tensor mean_difference(const at::Tensor& a, const at::Tensor& b);

/// One number for desirable rows, another for the others: [N], of the type of `like`.
at::Tensor by_class(const at::Tensor& desirable, double yes, double no, const at::Tensor& like);

}  // namespace rewardloom
