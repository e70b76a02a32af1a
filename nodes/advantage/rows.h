// Advantages with one number per row: what they share.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <vector>

#include "nodes/advantage/groups.h"

namespace rewardloom {

/// Calls work(rows of a group) for each group and returns what it wrote into `advantage`, all rows
/// that are in no group 0. reward holds finite numbers.
std::vector<double> by_group(
    const std::vector<double>& reward, const Groups& groups,
    const std::function<void(std::span<const std::int64_t>, std::vector<double>&)>& work);

/// The mean of a group; of equal rewards exactly that.
struct GroupMean {
  double mean = 0;
  bool constant = true;

  GroupMean(const double* reward, std::span<const std::int64_t> rows);
};

/// mask [N,T] as bool; Failure `bad-shape` unless it has as many rows as there are rewards.
at::Tensor row_mask(const at::Tensor& mask, std::size_t rows);

/// Tokens of each row of mask [N,T].
std::vector<double> lengths_of(const at::Tensor& mask);

}  // namespace rewardloom
