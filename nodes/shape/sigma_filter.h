// Normalisation of per-token advantages that leaves out what lies far outside.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class FilterCenter { zero, raw_mean };
constexpr auto choices(FilterCenter) {
  return std::to_array<Choice<FilterCenter>>({
      {FilterCenter::zero, "zero", "within +-k of 0, as the paper says"},
      {FilterCenter::raw_mean, "raw_mean",
       "within +-k of the mean of the raw values, as its code does"},
  });
}

struct SigmaFilterOptions {
  double k = 3;
  FilterCenter center = FilterCenter::zero;
  double hard_limit = 10;
};

struct SigmaFiltered {
  at::Tensor values;   ///< [N,T] normalised; 0 outside the mask and where it was filtered
  at::Tensor outlier;  ///< [N,T] bool: inside the mask and filtered
  std::int64_t tokens = 0;
  std::int64_t outliers = 0;
};

/// Normalises values [N,T] over the tokens of mask [N,T] (population variance, at least 1e-8; 1e-8
/// is added after scaling) and zeroes what then lies outside. Equal values all give 0. Failure
/// `bad-shape`; `not-finite` for a value of the mask that is no number.
/// StableReinforce, Zhang et al. 2025, arXiv:2505.02835.
SigmaFiltered sigma_filter(const at::Tensor& values, const at::Tensor& mask,
                           const SigmaFilterOptions& options);

}  // namespace rewardloom
