// What `rewardloom inspect` shows of a run as a whole. Reads runs that go on, and what a crash
// left.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/run_reader.h"
#include "engine/run/run_folder.h"

namespace rewardloom::cli {

/// All values of one metric.
struct MetricSeries {
  std::string name;
  std::vector<MetricPoint> points;  ///< at least one
  double min = 0;                   ///< of the finite values; NaN if there are none
  double max = 0;
};

/// All distributions of one component of a port, by iteration; at least one.
struct ProbeSeries {
  ProbeSummary probe;
  std::vector<HistogramRow> rows;
  std::string port() const { return probe.node + "." + probe.port; }
};

/// Alarms with the same code from the same node.
struct AlarmGroup {
  AlarmRow first;
  std::size_t count = 0;
  std::int64_t last_iteration = 0;
};

struct RunOverview {
  std::filesystem::path folder;
  std::string about;            ///< what the graph says of itself
  std::optional<RunInfo> info;  ///< missing or broken run.json: nothing
  std::optional<std::int64_t> last_iteration;
  std::vector<MetricSeries> metrics;
  std::vector<ProbeSeries> probes;
  std::vector<AlarmGroup> alarms;
  std::vector<NodeRow> nodes;
  std::vector<Problem> problems;  ///< what could not be read
};

/// The run folder that `given` means: the folder, its run.db, its run.json or one of its
/// checkpoints.
std::filesystem::path run_folder_named(const std::string& given);
std::vector<MetricSeries> read_metrics(RunReader& reader, const std::vector<std::string>& names);
std::vector<ProbeSeries> read_probes(RunReader& reader);
RunOverview read_overview(RunReader& reader, const std::filesystem::path& folder);
std::string overview_text(const RunOverview& run, std::size_t width);
Json overview_json(const RunOverview& run);

/// The quantile that Distribution names so, e.g. "q50".
double quantile(const Distribution& distribution, std::string_view name);
/// Statistics without bins.
Json statistics_json(const Distribution& distribution);
std::vector<double> means(const std::vector<HistogramRow>& rows);

}  // namespace rewardloom::cli
