// How far several scores of the same rows put them in the same order.
#pragma once
#include <ATen/core/Tensor.h>

#include <span>

namespace rewardloom {

/// Kendall's tau-b of two lists of the same length, ties corrected; NaN if one is constant.
double kendall(std::span<const double> x, std::span<const double> y);

struct RankAgreement {
  at::Tensor spearman;  ///< [M,M] double
  at::Tensor kendall;   ///< [M,M] double
  at::Tensor top;       ///< [M,M] double: share of groups in which both put the same row first
};

/// scores [M,P,K]: M scorers of P groups of K >= 2 rows -> matrices, means over the groups. A group
/// in which a scorer is constant has no order: it counts as correlation 0. Of equal scores the
/// first row is on top.
RankAgreement rank_agreement(const at::Tensor& scores);

}  // namespace rewardloom
