// A run as a stream of JSON objects, one a line: what the editor and scripts read.
#pragma once
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "engine/cli/run_report.h"

namespace rewardloom::cli {

class EventStream final : public RunReport {
 public:
  EventStream() = default;

  void metric(std::int64_t iteration, const std::string& name, double value) override;
  void problem(const Problem& problem) override;
  void started(const Run& run) override;
  void iteration_done(std::int64_t iteration, double seconds) override;
  void checkpoint_written(std::int64_t iteration, const std::string& folder) override;
  void paused(bool is_paused) override;
  void stopped_at(const std::string& node, const std::string& breakpoint,
                  std::int64_t iteration) override;
  void hung(const Problem& problem) override;

  void refused(const std::vector<Problem>& problems, ExitStatus status) override;
  void stopping() override;
  void command_done(const std::string& command) override;
  void command_failed(const std::string& command, const Problem& problem) override;
  void finished(const Run& run, RunEnd end) override;
  void forget_run() override { ticker_.reset(); }

  /// Called when nobody reads the stream any more.
  std::function<void()> unheard;

 private:
  void write(const Json& event);
  void write_problem(const Problem& problem);
  void tick();
  void write_nodes(std::int64_t iteration);

  std::mutex mutex_;  ///< of all below
  const Run* run_ = nullptr;
  std::vector<Problem> early_problems_;  ///< before the start event
  std::map<std::string, double> metrics_;
  std::chrono::steady_clock::time_point nodes_written_;
  std::int64_t iteration_ = 0;  ///< the one that runs
  std::vector<std::string> running_;
  bool heard_ = true;
  bool paused_ = false;
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace rewardloom::cli
