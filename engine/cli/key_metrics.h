// The few numbers that a terminal shows of a run while it goes on: what its graph names,
// accuracies, rewards as they flowed, else what is there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/cli/telling.h"
#include "engine/io/run_reader.h"

namespace rewardloom::cli {

/// First and last value of something that a run measures.
struct KeyMetric {
  std::string name;
  double first = 0;
  double last = 0;
};

/// One metric of several branches.
struct BranchSpan {
  std::string metric;  ///< without what tells branches apart
  KeyMetric lowest;    ///< named after the branch
  KeyMetric highest;
};

/// Safe for several threads.
class KeyMetrics {
 public:
  /// What the graph says of itself; before the first value.
  void set_about(const std::string& about);
  void add(const std::string& name, double value);
  /// Reads the means of recorded rewards that are new in the run's store; `folder` is the run
  /// folder. What cannot be read is left out.
  void read_rewards(const std::filesystem::path& folder);
  /// At most `limit`, the most telling first: those that the graph names, else one accuracy; mean
  /// rewards; others.
  std::vector<KeyMetric> key(std::size_t limit) const;
  /// Those that the graph names.
  std::vector<KeyMetric> named() const;
  /// The most telling metric that branches have in common, by their last values.
  std::optional<BranchSpan> branches() const;

 private:
  struct Probe {
    ProbeSummary port;
    KeyMetric mean;
    std::int64_t next = 0;  ///< the first iteration that was not read yet
    bool seen = false;
  };
  struct Metric : KeyMetric {
    int telling = 0;
  };
  std::vector<Metric> sorted() const;
  void find_probes();
  void read(Probe& probe);

  mutable std::mutex mutex_;
  std::vector<Metric> metrics_;                          ///< in the order of their first value
  std::unordered_map<std::string, std::size_t> places_;  ///< of names in metrics_
  Telling telling_;
  /// The family that branches() tells of, looked for again when there are more metrics.
  mutable std::vector<std::string> family_;
  mutable Labels labels_;
  mutable std::size_t looked_at_ = 0;
  std::unique_ptr<RunReader> reader_;
  std::vector<Probe> probes_;
  int reads_ = 0;
};

}  // namespace rewardloom::cli
