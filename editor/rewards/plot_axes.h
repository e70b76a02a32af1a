// Ranges of values, round numbers in them, and which points share a pixel.
#pragma once
#include <QColor>
#include <QString>
#include <algorithm>
#include <cstddef>
#include <vector>

#include "editor/theme.h"

namespace rewardloom {

struct AxisRange {
  double low = 0;
  double high = 1;
  double span() const { return high - low; }
  /// Grows to hold a finite value; the first one replaces an empty range.
  void hold(double value);
  bool empty() const { return low > high; }
  static AxisRange none();
  /// With some air at both ends; a range of one value becomes one around it.
  AxisRange padded(double share = 0.06) const;
};

/// Round numbers that divide a range into about `count` parts.
std::vector<double> axisTicks(double low, double high, int count);

/// As few digits as tell neighbouring ticks apart.
QString tickText(double tick, double step);

/// One colour per curve or part, told apart by people with any of the three common deficiencies.
QColor seriesColor(std::size_t index, const Theme& theme);

struct IndexRange {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t count() const { return end - begin; }
};

/// The rows whose place is inside a range, and one on either side, so that lines lead out of it.
/// `rows` are in the order of `placeOf(row)`.
template <class Rows, class Place>
IndexRange seenRows(const Rows& rows, const AxisRange& seen, Place placeOf) {
  const auto before = [&](const auto& row, double x) { return placeOf(row) < x; };
  const auto after = [&](double x, const auto& row) { return x < placeOf(row); };
  auto first = std::lower_bound(rows.begin(), rows.end(), seen.low, before);
  auto last = std::upper_bound(first, rows.end(), seen.high, after);
  if (first != rows.begin()) --first;
  if (last != rows.end()) ++last;
  return {static_cast<std::size_t>(first - rows.begin()),
          static_cast<std::size_t>(last - rows.begin())};
}

/// Calls `take(begin, end)` with index ranges that share a pixel: none is left out.
template <class Take>
void eachPixelRange(IndexRange rows, int pixels, Take take) {
  const std::size_t across = std::min(rows.count(), static_cast<std::size_t>(std::max(pixels, 1)));
  for (std::size_t i = 0; i < across; ++i) {
    take(rows.begin + i * rows.count() / across, rows.begin + (i + 1) * rows.count() / across);
  }
}

}  // namespace rewardloom
