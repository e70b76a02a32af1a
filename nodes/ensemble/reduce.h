// The scores of several reward models as one.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "nodes/advantage/group.h"

namespace rewardloom {

enum class EnsembleOp { mean, median, min, mean_minus_std, mean_minus_var, quantile };
constexpr auto choices(EnsembleOp) {
  return std::to_array<Choice<EnsembleOp>>({
      {EnsembleOp::mean, "mean", "mean of the members"},
      {EnsembleOp::median, "median",
       "the middle one; of an even number the mean of the middle two"},
      {EnsembleOp::min, "min", "the lowest: worst-case optimization (WCO)"},
      {EnsembleOp::mean_minus_std, "mean_minus_std", "mean - k * standard deviation"},
      {EnsembleOp::mean_minus_var, "mean_minus_var",
       "mean - k * variance: uncertainty-weighted optimization (UWO)"},
      {EnsembleOp::quantile, "quantile", "the quantile q, with linear interpolation"},
  });
}

struct EnsembleOptions {
  EnsembleOp op = EnsembleOp::mean;
  double k = 1;
  Divisor divisor = Divisor::sample;
  double q = 0.25;
};

struct EnsembleScores {
  at::Tensor rewards;  ///< [N]
  at::Tensor std;      ///< [N], 0 for a single member
};

/// scores [M,N], M >= 1 members -> [N], computed in double. Coste et al. 2024, arXiv:2310.02743.
EnsembleScores reduce_ensemble(const at::Tensor& scores, const EnsembleOptions& options);

/// Two members whose scores are not on one scale.
struct ScaleGap {
  std::ptrdiff_t low = 0, high = 0;  ///< members with the lowest and the highest mean, from 0
  double low_mean = 0, high_mean = 0;
  double spread = 0;  ///< sample standard deviation of a member's scores, mean over the members
};

/// The widest gap between the means of members [M][N] over the rows that are counted [N], if it is
/// wider than their scores spread; nothing for fewer than two members or rows.
std::optional<ScaleGap> scale_gap(const std::vector<std::vector<double>>& members,
                                  const std::vector<bool>& counted);

}  // namespace rewardloom
