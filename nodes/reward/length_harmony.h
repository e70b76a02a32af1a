// A length term that only wrong answers pay, measured by the right answers of their group.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

struct LengthHarmonyOptions {
  double max_penalty = 0.5;
  double tau = 0.2;        ///< shortfall that costs nothing
  double threshold = 0.5;  ///< reward from which a row counts as right
};

/// rewards, lengths, group [N]; absent [N] bool or undefined -> [N], 0 or less: wrong rows that are
/// shorter than the mean length L of the group's right rows pay max_penalty * clip(((L - length) /
/// L - tau) / (1 - tau), 0, 1). Groups without a right row pay nothing. HARMO, Gulhane and Indurthi
/// 2025, arXiv:2510.05283, which leaves the exact form open.
at::Tensor length_harmony(const at::Tensor& rewards, const at::Tensor& lengths,
                          const at::Tensor& group, const at::Tensor& absent,
                          const LengthHarmonyOptions& options);

}  // namespace rewardloom
