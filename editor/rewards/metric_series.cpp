#include "editor/rewards/metric_series.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace rewardloom {
namespace {

void widen(SeriesColumn& column, double low, double high) {
  column.low = column.any ? std::min(column.low, low) : low;
  column.high = column.any ? std::max(column.high, high) : high;
  column.any = true;
}

}  // namespace

void MetricSeries::append(std::int64_t iteration, double value) {
  if (!points_.empty() && points_.back().iteration == iteration) {
    points_.back().value = value;
    if (!std::isfinite(value)) return;
    for (auto& level : levels_) widen(level.back(), value, value);
    return;
  }
  const std::size_t index = points_.size();
  points_.push_back({iteration, value});
  std::size_t block = index;
  for (std::size_t l = 0; block > 0 || l == 0; ++l) {
    block /= kFan;
    if (l == levels_.size()) {
      levels_.emplace_back();
      // A new level starts with what the one below has gathered.
      if (l > 0) {
        SeriesColumn all;
        for (const SeriesColumn& c : levels_[l - 1]) {
          if (c.any) widen(all, c.low, c.high);
        }
        levels_[l].push_back(all);
      }
    }
    if (levels_[l].size() <= block) levels_[l].resize(block + 1);
    if (std::isfinite(value)) widen(levels_[l][block], value, value);
  }
}

void MetricSeries::clear() {
  points_.clear();
  levels_.clear();
}

std::size_t MetricSeries::lowerBound(double iteration) const {
  // Most metrics have a value at every iteration: then there is nothing to search for.
  const auto count = static_cast<std::int64_t>(points_.size());
  if (count > 0 && last() - first() + 1 == count) {
    const double place = std::ceil(iteration) - static_cast<double>(first());
    return static_cast<std::size_t>(std::clamp(place, 0.0, static_cast<double>(count)));
  }
  const auto it = std::lower_bound(
      points_.begin(), points_.end(), iteration,
      [](const SeriesPoint& point, double x) { return static_cast<double>(point.iteration) < x; });
  return static_cast<std::size_t>(it - points_.begin());
}

SeriesColumn MetricSeries::extremes(std::size_t begin, std::size_t end) const {
  SeriesColumn out;
  while (begin < end) {
    // The largest block that starts here and does not reach beyond the end.
    std::size_t size = 1;
    std::size_t level = 0;
    while (level < levels_.size() && begin % (size * kFan) == 0 && begin + size * kFan <= end) {
      size *= kFan;
      ++level;
    }
    if (level == 0) {
      const double value = points_[begin].value;
      if (std::isfinite(value)) widen(out, value, value);
    } else {
      const SeriesColumn& block = levels_[level - 1][begin / size];
      if (block.any) widen(out, block.low, block.high);
    }
    begin += size;
  }
  return out;
}

std::vector<SeriesColumn> MetricSeries::columns(double from, double to, int columns) const {
  std::vector<SeriesColumn> out(static_cast<std::size_t>(std::max(columns, 0)));
  if (points_.empty() || to <= from) return out;
  const double width = (to - from) / columns;
  std::size_t begin = lowerBound(from);
  for (int c = 0; c < columns; ++c) {
    const std::size_t end = lowerBound(from + width * (c + 1));
    if (end > begin) out[static_cast<std::size_t>(c)] = extremes(begin, end);
    begin = std::max(begin, end);
  }
  return out;
}

double MetricSeries::valueAt(std::int64_t iteration) const {
  const std::size_t after = lowerBound(static_cast<double>(iteration) + 0.5);
  return after == 0 ? std::numeric_limits<double>::quiet_NaN() : points_[after - 1].value;
}

}  // namespace rewardloom
