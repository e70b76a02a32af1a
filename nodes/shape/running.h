// Shaping by running statistics of all rewards seen so far.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <limits>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class RunningMode { meanstd, clip, minmax };
constexpr auto choices(RunningMode) {
  return std::to_array<Choice<RunningMode>>({
      {RunningMode::meanstd, "meanstd", "(r - mean) / std"},
      {RunningMode::clip, "clip", "held within mean +- std"},
      {RunningMode::minmax, "minmax", "(r - lowest) / (highest - lowest)"},
  });
}

enum class RunningPreset { par, oni };
constexpr auto choices(RunningPreset) {
  return std::to_array<Choice<RunningPreset>>({
      {RunningPreset::par, "par", "starts empty, merges population variances"},
      {RunningPreset::oni, "oni",
       "starts from mean 0 and variance 1 of weight 1e-4, merges sample variances"},
  });
}

/// Count, mean, variance and extremes of everything added so far.
class RunningMoments {
 public:
  /// Adds a batch. Merge of Chan et al. 1983, "Updating formulae and a pairwise algorithm for
  /// computing sample variances"; the batch's own moments are taken in two passes. An empty batch
  /// changes nothing.
  void add(const std::vector<double>& batch, RunningPreset preset);
  double mean() const { return mean_; }
  double std() const;
  double low() const { return low_; }
  double high() const { return high_; }
  /// values [N] double -> shaped [N]; what would be divided by 0 is divided by 1, and minmax is 0.5
  /// until two different values were seen.
  at::Tensor shaped(const at::Tensor& values, RunningMode mode) const;

  void save(Package& out) const;
  void load(const Package& in);

 private:
  double count_ = 0;
  double mean_ = 0;
  double squares_ = 0;  ///< sum of squared distances from the mean
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
  bool begun_ = false;
};

}  // namespace rewardloom
