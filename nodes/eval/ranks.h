// Ranks and what is computed from them.
#pragma once
#include <span>
#include <vector>

namespace rewardloom {

/// Ranks 1..n by rising value; equal values share the mean of their ranks.
std::vector<double> average_ranks(std::span<const double> values);

/// Spearman's rank correlation of two lists of the same length, NaN if one of them is constant.
double spearman(std::span<const double> x, std::span<const double> y);

/// Area under the ROC curve: the probability that a positive lies above a negative, equal ones
/// count one half. Neither list may be empty.
double auroc(const std::vector<double>& negative, const std::vector<double>& positive);

}  // namespace rewardloom
