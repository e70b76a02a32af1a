#include "engine/cli/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/cli/terminal.h"

namespace rewardloom::cli {

double ValueGrid::middle(std::size_t row) const {
  if (rows == 1) return lowest;
  return lowest + (highest - lowest) * static_cast<double>(row) / static_cast<double>(rows - 1);
}

ValueGrid grid_of(const std::vector<HistogramRow>& rows, std::size_t height) {
  ValueGrid grid{INFINITY, -INFINITY, 1};
  for (const HistogramRow& row : rows) {
    if (row.distribution.count == 0) continue;
    grid.lowest = std::min(grid.lowest, row.distribution.lo);
    grid.highest = std::max(grid.highest, row.distribution.hi);
  }
  if (!std::isfinite(grid.lowest) || !std::isfinite(grid.highest)) return {0, 0, 1};
  if (grid.highest > grid.lowest) grid.rows = std::max<std::size_t>(height, 2);
  return grid;
}

std::vector<double> shares(const Distribution& d, const ValueGrid& grid) {
  std::vector<double> out(grid.rows, 0.0);
  if (d.count == 0 || d.bins.empty()) return out;
  const double count = static_cast<double>(d.count);
  if (grid.rows == 1) {
    out[0] = 1;
    return out;
  }
  const double step = (grid.highest - grid.lowest) / static_cast<double>(grid.rows - 1);
  const double bottom = grid.lowest - step / 2;
  const auto row_of = [&](double value) {
    const double row = std::floor((value - bottom) / step);
    return static_cast<std::size_t>(std::clamp(row, 0.0, static_cast<double>(grid.rows - 1)));
  };
  const double bin_width = (d.hi - d.lo) / static_cast<double>(d.bins.size());
  for (std::size_t bin = 0; bin < d.bins.size(); ++bin) {
    if (d.bins[bin] == 0) continue;
    const double share = static_cast<double>(d.bins[bin]) / count;
    const double low = d.lo + bin_width * static_cast<double>(bin);
    const double high = low + bin_width;
    if (!(high > low)) {
      out[row_of(low)] += share;
      continue;
    }
    const std::size_t last = row_of(high);
    for (std::size_t row = row_of(low); row <= last; ++row) {
      const double from = std::max(low, row == 0 ? low : bottom + step * static_cast<double>(row));
      const double to = std::min(
          high, row == grid.rows - 1 ? high : bottom + step * static_cast<double>(row + 1));
      out[row] += share * std::max(0.0, to - from) / bin_width;
    }
  }
  return out;
}

namespace {

constexpr std::size_t kLabelWidth = 10;

const char* shade(double share) {
  if (share <= 0) return " ";
  if (share < 0.1) return "░";
  if (share < 0.3) return "▒";
  return share < 0.6 ? "▓" : "█";
}

/// The average shares of each column's iterations.
std::vector<std::vector<double>> columns_of(const std::vector<HistogramRow>& rows,
                                            const ValueGrid& grid, std::size_t columns) {
  std::vector<std::vector<double>> out(columns, std::vector<double>(grid.rows, 0.0));
  for (std::size_t column = 0; column < columns; ++column) {
    const std::size_t first = column * rows.size() / columns;
    const std::size_t last = std::max((column + 1) * rows.size() / columns, first + 1);
    for (std::size_t i = first; i < last; ++i) {
      const std::vector<double> one = shares(rows[i].distribution, grid);
      for (std::size_t row = 0; row < grid.rows; ++row) {
        out[column][row] += one[row] / static_cast<double>(last - first);
      }
    }
  }
  return out;
}

}  // namespace

std::string heat_map(const std::vector<HistogramRow>& rows, std::size_t width, std::size_t height) {
  if (rows.empty()) return {};
  const std::size_t room = width > kLabelWidth + 12 ? width - kLabelWidth - 3 : 12;
  const std::size_t columns = std::min(rows.size(), room);
  const std::size_t repeat = std::clamp<std::size_t>(room / columns, 1, 4);
  const ValueGrid grid = grid_of(rows, height);
  const auto cells = columns_of(rows, grid, columns);
  std::string out;
  for (std::size_t row = grid.rows; row-- > 0;) {
    out += pad_left(number_text(grid.middle(row)), kLabelWidth) + " │";
    for (const auto& column : cells) {
      for (std::size_t i = 0; i < repeat; ++i) out += shade(column[row]);
    }
    out += "\n";
  }
  const std::string first = std::to_string(rows.front().iteration);
  const std::string last = std::to_string(rows.back().iteration);
  std::string line;
  for (std::size_t i = 0; i < columns * repeat; ++i) line += "─";
  out += std::string(kLabelWidth, ' ') + " └" + line + "\n";
  out += pad_left("iteration", kLabelWidth) + "  " + first;
  if (rows.size() > 1) {
    const std::size_t all = columns * repeat;
    out += all > first.size() ? pad_left(last, std::max(all - first.size(), last.size() + 1))
                              : " " + last;
  }
  return out + "\n" + std::string(kLabelWidth + 2, ' ') +
         "share of rows:  ░ some  ▒ from 10 %  ▓ from 30 %  █ from 60 %\n";
}

std::string histogram_bars(const Distribution& d, std::size_t width, std::size_t height) {
  if (d.count == 0 || d.bins.empty()) return "  nothing was counted\n";
  const std::size_t joined = (d.bins.size() + height - 1) / height;
  const double bin_width = (d.hi - d.lo) / static_cast<double>(d.bins.size());
  struct Bar {
    double low;
    double high;
    std::uint64_t count;
  };
  std::vector<Bar> bars;
  for (std::size_t bin = 0; bin < d.bins.size(); bin += joined) {
    const std::size_t end = std::min(bin + joined, d.bins.size());
    Bar one{d.lo + bin_width * static_cast<double>(bin),
            d.lo + bin_width * static_cast<double>(end), 0};
    for (std::size_t i = bin; i < end; ++i) one.count += d.bins[i];
    bars.push_back(one);
  }
  if (!(d.hi > d.lo)) bars = {{d.lo, d.hi, static_cast<std::uint64_t>(d.count)}};
  std::uint64_t most = 1;
  for (const Bar& one : bars) most = std::max(most, one.count);
  const std::size_t room = width > 54 ? width - 44 : 10;
  std::string out;
  for (std::size_t i = bars.size(); i-- > 0;) {
    const std::string range = d.hi > d.lo
                                  ? number_text(bars[i].low) + " to " + number_text(bars[i].high)
                                  : number_text(bars[i].low);
    out += fmt::format("  {} {} {}\n", pad_left(range, 24),
                       bar(static_cast<double>(bars[i].count) / static_cast<double>(most), room),
                       bars[i].count);
  }
  return out;
}

}  // namespace rewardloom::cli
