// Figures of benchmarks: medians, and one line of JSON each.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom::bench {

inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

inline void print_figure(const Json& figure) {
  std::puts(figure.dump().c_str());
  std::fflush(stdout);
}

}  // namespace rewardloom::bench
