// Reads run.db while it is written, after a crash, or from another version. No LibTorch here.
#pragma once
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/run_rows.h"

namespace rewardloom {

/// A range of iterations, both ends included.
struct Iterations {
  std::int64_t first = 0;
  std::int64_t last = std::numeric_limits<std::int64_t>::max();
};

struct MetricPoint {
  std::int64_t iteration = 0;
  double value = 0;
};

/// A recorded component of a port and the iterations at which it was recorded.
struct ProbeSummary {
  std::string node;
  std::string port;
  std::string component;
  std::int64_t recorded = 0;
  Iterations iterations;
};

struct ProbeName {
  std::string node;
  std::string port;
  std::string component;
};

/// Which samples: an empty text or no iteration means any.
struct SampleFilter {
  std::string node;
  std::string port;
  std::optional<std::int64_t> iteration;
  std::int64_t offset = 0;
  std::int64_t limit = 50;
};

/// One page of samples, ordered by iteration, node, port and row; `total` counts all that the
/// filter lets by.
struct SamplePage {
  std::vector<SampleRow> rows;
  std::int64_t total = 0;
};

/// For use by one thread at a time. Every query sees what is committed by then. What a damaged or
/// older store lacks reads as empty and is named in problems(); nothing is ever written.
class RunReader {
 public:
  /// `path` is a run.db or the folder that holds it. Failure `run-store-missing` if there is none,
  /// `run-store-failed` if it is no SQLite database.
  explicit RunReader(const std::filesystem::path& path);
  ~RunReader();
  RunReader(RunReader&&) noexcept;
  RunReader& operator=(RunReader&&) noexcept;

  /// The version the store says, 0 if it says none.
  int schema_version() const;
  /// What could not be read so far, each once: missing tables and columns, damage, a newer version.
  const std::vector<Problem>& problems() const;
  /// Rises whenever another process has written to the store; the same number: nothing is new.
  std::int64_t change_counter();
  /// The last iteration with a metric, histogram or event; nothing if there is none yet.
  std::optional<std::int64_t> last_iteration();
  /// The same of metrics and samples alone: the end of a run is an event after its last iteration.
  std::optional<std::int64_t> last_recorded_iteration();

  std::vector<std::string> metric_names();
  std::vector<MetricPoint> metric(const std::string& name, Iterations range = {});
  /// All metrics of a range, by iteration and name: what a live view asks for after its last
  /// iteration.
  std::vector<MetricRow> metrics(Iterations range = {});
  /// The newest value of each metric, by name.
  std::vector<MetricRow> latest_metrics();

  std::vector<ProbeSummary> probes();
  /// The recorded components without counts: quick however long the run. Components of a port are
  /// those of its first and its last iteration.
  std::vector<ProbeName> probe_names();
  std::vector<HistogramRow> histograms(const std::string& node, const std::string& port,
                                       const std::string& component, Iterations range = {});
  /// Every component of a port at one iteration, by component.
  std::vector<HistogramRow> histograms_at(const std::string& node, const std::string& port,
                                          std::int64_t iteration);
  /// The same at the last iteration at which the port was recorded.
  std::vector<HistogramRow> last_histograms(const std::string& node, const std::string& port);

  SamplePage samples(const SampleFilter& filter);
  /// Samples of one port in a range, by iteration and row, at most `limit`.
  std::vector<SampleRow> samples_of(const std::string& node, const std::string& port,
                                    Iterations range, std::int64_t limit);
  /// What every port kept of the row with this index at one iteration, by node and port.
  std::vector<SampleRow> samples_of_row(std::int64_t iteration, std::int64_t row);
  std::vector<AlarmRow> alarms(Iterations range = {});
  /// Events in the order they were written; an empty kind means any.
  std::vector<EventRow> events(const std::string& kind = {}, Iterations range = {});
  std::vector<NodeRow> nodes();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace rewardloom
