// The rows of a run store, as plain data: written by RunStore, read by RunReader.
#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom {

/// The probabilities of the quantiles that a Distribution holds, and their names as columns.
inline constexpr std::array<double, 7> quantile_levels = {0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99};
inline constexpr std::array<std::string_view, 7> quantile_names = {"q01", "q05", "q25", "q50",
                                                                   "q75", "q95", "q99"};

/// What one tensor of numbers looked like. Statistics are over the `count` finite values and NaN if
/// there are none. `bins` are equally wide from `lo` to `hi`, the last one closed; their sum is
/// `count`.
struct Distribution {
  static constexpr double none = std::numeric_limits<double>::quiet_NaN();
  std::int64_t count = 0;
  std::int64_t absent = 0;
  std::int64_t nonfinite = 0;
  double mean = none;
  double std = none;  ///< of the population
  double min = none;
  double max = none;
  std::array<double, 7> quantiles = {none, none, none, none, none, none, none};
  double lo = none;
  double hi = none;
  std::vector<std::uint64_t> bins;
};

/// One number of one iteration; the last value written for a name and an iteration counts.
struct MetricRow {
  std::int64_t iteration = 0;
  std::string name;
  double value = 0;
};

/// A component that rewards with groups have besides their own: the population standard deviation
/// of the total within each group of two or more scored rows. A group whose rows are all worth the
/// same gives no signal and is counted as absent.
inline constexpr const char* kWithinGroupStd = "within_group_std";

/// The distribution of one component ("total", "format", ...) of the value at a port.
struct HistogramRow {
  std::int64_t iteration = 0;
  std::string node;
  std::string port;
  std::string component;
  Distribution distribution;
};

/// One whole sample of a port: `row` is its index in the batch, `data` a JSON object as text.
struct SampleRow {
  std::int64_t iteration = 0;
  std::string node;
  std::string port;
  std::int64_t row = 0;
  std::string data;
};

/// What a node has done since the run began; writing a node again replaces its row.
struct NodeRow {
  std::string node;
  std::string type;
  std::int64_t iteration = 0;  ///< the last one counted
  std::int64_t firings = 0;
  double seconds = 0;          ///< spent in run(), summed
  double waiting_seconds = 0;  ///< from ready to running, summed
  std::int64_t failures = 0;
  std::int64_t bytes = 0;  ///< of output values, summed
};

/// Something that happened: "start", "resume", "checkpoint", "phase", "stop", ... `data` is JSON
/// text.
struct EventRow {
  std::int64_t iteration = 0;
  std::string kind;
  std::string node;
  std::string data = "{}";
  double time = 0;  ///< Unix seconds; 0 is taken as now
};

/// A problem seen while running.
struct AlarmRow {
  std::int64_t iteration = 0;
  std::string node;
  std::string port;
  std::string code;
  std::string text;
  std::string help;
  Severity severity = Severity::warning;
  double time = 0;  ///< Unix seconds; 0 is taken as now
};

}  // namespace rewardloom
