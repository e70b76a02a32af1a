// Pointwise shaping of a reward, most forms of it relative to the rewards of reference answers.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "nodes/advantage/group.h"

namespace rewardloom {

enum class TransformMode {
  raw,
  sigmoid,
  par,
  tanh,
  par_tanh,
  centered,
  ceil,
  lsc,
  sgfc,
  poly,
  par_poly
};
constexpr auto choices(TransformMode) {
  return std::to_array<Choice<TransformMode>>({
      {TransformMode::raw, "raw", "the reward as it is"},
      {TransformMode::sigmoid, "sigmoid", "sigmoid(k r)"},
      {TransformMode::par, "par", "mean over the references of sigmoid(k (r - reference))"},
      {TransformMode::tanh, "tanh", "tanh(r)"},
      {TransformMode::par_tanh, "par_tanh", "mean over the references of tanh(r - reference)"},
      {TransformMode::centered, "centered", "r minus the mean of the references"},
      {TransformMode::ceil, "ceil", "min(r, ceil)"},
      {TransformMode::lsc, "lsc", "log sigmoid(r - percentile of the references)"},
      {TransformMode::sgfc, "sgfc", "par of r - shift: slow growth, fast convergence"},
      {TransformMode::poly, "poly",
       "least-squares quintic of the sigmoid on [-5,5]; 0 below, 1 above"},
      {TransformMode::par_poly, "par_poly", "mean over the references of poly(r - reference)"},
  });
}

struct TransformOptions {
  TransformMode mode = TransformMode::par;
  double k = 1;
  std::int64_t max_refs = 10;
  double percentile = 0.85;
  Divisor std = Divisor::sample;
  double ceil = 4;
  double shift = 3;
};

/// Whether the mode needs the rewards of reference answers.
bool is_relative(TransformMode mode);

/// rewards [N], reference [N,M] (undefined for modes that are not relative), counts [N] int64: how
/// many entries at the front of a row of `reference` are there (undefined: all M) -> [N], of the
/// type of `rewards`. A row without references gives NaN. Failure `no-reference-rewards`,
/// `bad-shape`. Fu et al. 2025, arXiv:2502.18770; lsc after Wang et al. 2024, arXiv:2402.00742.
at::Tensor transformed(const at::Tensor& rewards, const at::Tensor& reference,
                       const at::Tensor& counts, const TransformOptions& options);

}  // namespace rewardloom
