// A curve of any length that draws in time proportional to the screen: a min/max pyramid.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rewardloom {

struct SeriesPoint {
  std::int64_t iteration = 0;
  double value = 0;
};

/// Smallest and largest value that fall into one column of the screen.
struct SeriesColumn {
  double low = 0;
  double high = 0;
  bool any = false;
};

class MetricSeries {
 public:
  /// Iterations rise; an iteration that is already there is replaced only at the end.
  void append(std::int64_t iteration, double value);
  void clear();
  std::size_t size() const { return points_.size(); }
  bool empty() const { return points_.empty(); }
  const std::vector<SeriesPoint>& points() const { return points_; }
  std::int64_t first() const { return points_.front().iteration; }
  std::int64_t last() const { return points_.back().iteration; }

  /// Extremes per column of [from, to) cut into `columns`; not-finite values are left out.
  std::vector<SeriesColumn> columns(double from, double to, int columns) const;
  /// The value at or before an iteration; NaN if there is none.
  double valueAt(std::int64_t iteration) const;

 private:
  SeriesColumn extremes(std::size_t begin, std::size_t end) const;
  std::size_t lowerBound(double iteration) const;

  static constexpr std::size_t kFan = 16;
  std::vector<SeriesPoint> points_;
  std::vector<std::vector<SeriesColumn>> levels_;  ///< level l: extremes of 16^(l+1) points each
};

}  // namespace rewardloom
