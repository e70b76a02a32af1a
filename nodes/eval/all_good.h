// How many rows are good in every respect.
#pragma once
#include <cstdint>
#include <vector>

namespace rewardloom {

struct AllGood {
  double rows = 0;
  double all = 0;             ///< share that reaches every threshold
  double mean_min = 0;        ///< mean of the smallest property, thresholds subtracted
  std::vector<double> below;  ///< [K] share below each threshold
};

/// properties K x [N] and thresholds [K]; rows with a NaN are left out.
AllGood all_good(const std::vector<std::vector<double>>& properties,
                 const std::vector<double>& thresholds);

}  // namespace rewardloom
