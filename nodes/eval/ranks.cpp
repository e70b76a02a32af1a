#include "nodes/eval/ranks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace rewardloom {

std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t first = 0; first < order.size();) {
    std::size_t last = first;
    while (last + 1 < order.size() && values[order[last + 1]] == values[order[first]]) ++last;
    const double shared = 0.5 * static_cast<double>(first + last) + 1;
    for (std::size_t i = first; i <= last; ++i) ranks[order[i]] = shared;
    first = last + 1;
  }
  return ranks;
}

double spearman(std::span<const double> x, std::span<const double> y) {
  const std::vector<double> a = average_ranks(x);
  const std::vector<double> b = average_ranks(y);
  const double mean = 0.5 * (static_cast<double>(a.size()) + 1);
  double both = 0, first = 0, second = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += (a[i] - mean) * (b[i] - mean);
    first += (a[i] - mean) * (a[i] - mean);
    second += (b[i] - mean) * (b[i] - mean);
  }
  if (first == 0 || second == 0) return std::numeric_limits<double>::quiet_NaN();
  return both / std::sqrt(first * second);
}

double auroc(const std::vector<double>& negative, const std::vector<double>& positive) {
  std::vector<double> all = negative;
  all.insert(all.end(), positive.begin(), positive.end());
  const std::vector<double> ranks = average_ranks(all);
  const double sum = std::accumulate(ranks.begin() + static_cast<std::ptrdiff_t>(negative.size()),
                                     ranks.end(), 0.0);
  const double p = static_cast<double>(positive.size());
  return (sum - p * (p + 1) / 2) / (p * static_cast<double>(negative.size()));
}

}  // namespace rewardloom
