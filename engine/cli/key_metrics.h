// The few numbers that a terminal shows of a run: rewards as they flowed, accuracies, else what is
// there.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/io/run_reader.h"

namespace rewardloom::cli {

/// First and last value of something that a run measures.
struct KeyMetric {
  std::string name;
  double first = 0;
  double last = 0;
};

/// Safe for several threads.
class KeyMetrics {
 public:
  void add(const std::string& name, double value);
  /// Reads the means of recorded rewards that are new in the run's store; `folder` is the run
  /// folder. What cannot be read is left out.
  void read_rewards(const std::filesystem::path& folder);
  /// At most `limit`, the most telling first: mean rewards, metrics called after accuracy or
  /// reward, others.
  std::vector<KeyMetric> key(std::size_t limit) const;

 private:
  struct Probe {
    ProbeSummary port;
    KeyMetric mean;
    std::int64_t next = 0;  ///< the first iteration that was not read yet
    bool seen = false;
  };
  void find_probes();
  void read(Probe& probe);

  mutable std::mutex mutex_;
  std::vector<KeyMetric> metrics_;                       ///< in the order of their first value
  std::unordered_map<std::string, std::size_t> places_;  ///< of names in metrics_
  std::unique_ptr<RunReader> reader_;
  std::vector<Probe> probes_;
  int reads_ = 0;
};

}  // namespace rewardloom::cli
