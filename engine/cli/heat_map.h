// Distributions as text: over iterations as a heat map, of one iteration as bars.
#pragma once
#include <string>
#include <vector>

#include "engine/io/run_rows.h"

namespace rewardloom::cli {

/// Rows of equal height between the lowest and the highest value; the middles of the outer rows are
/// the extremes, so that rewards of 0 and 1 have rows of their own.
struct ValueGrid {
  double lowest = 0;
  double highest = 0;
  std::size_t rows = 1;

  /// The middle of a row; row 0 is the lowest.
  double middle(std::size_t row) const;
};
ValueGrid grid_of(const std::vector<HistogramRow>& rows, std::size_t height);

/// Which share of the distribution falls into each row of the grid; bins that lie across a border
/// are split by length. Sums to 1, or to 0 if nothing was counted.
std::vector<double> shares(const Distribution& distribution, const ValueGrid& grid);

/// Lines from high to low values, one column or more per iteration (averaged where there is no
/// room), with an axis below.
std::string heat_map(const std::vector<HistogramRow>& rows, std::size_t width, std::size_t height);

/// Neighbouring bins joined to at most `height` bars, high to low, with their counts.
std::string histogram_bars(const Distribution& distribution, std::size_t width, std::size_t height);

}  // namespace rewardloom::cli
