// A run as a person sees it: a line that is redrawn on a terminal, else a line every tenth of the
// way, and a summary at the end.
#pragma once
#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <string>

#include "engine/cli/comparison.h"
#include "engine/cli/key_metrics.h"
#include "engine/cli/run_report.h"

namespace rewardloom::cli {

class ProgressReport final : public RunReport {
 public:
  /// `quiet`: nothing but errors.
  explicit ProgressReport(bool quiet);

  void metric(std::int64_t iteration, const std::string& name, double value) override;
  void problem(const Problem& problem) override;
  void started(const Run& run) override;
  void iteration_done(std::int64_t iteration, double seconds) override;
  void checkpoint_written(std::int64_t iteration, const std::string& folder) override;
  void paused(bool is_paused) override;
  void hung(const Problem& problem) override;

  void refused(const std::vector<Problem>& problems, ExitStatus status) override;
  void stopping() override;
  void command_done(const std::string& command) override;
  void command_failed(const std::string& command, const Problem& problem) override;
  void finished(const Run& run, RunEnd end) override;
  void forget_run() override { ticker_.reset(); }

 private:
  void tick();
  void draw();
  void erase();
  void line(const std::string& text);
  /// The few metrics that fit into `width` columns.
  std::string numbers(std::size_t width) const;
  std::string progress_line(std::size_t width) const;
  std::vector<KeyMetric> summary_metrics(const Comparison& comparison) const;
  double iterations_per_second() const;

  const bool quiet_;
  const bool redraw_;
  KeyMetrics metrics_;

  std::mutex mutex_;  ///< of all below and of standard error
  const Run* run_ = nullptr;
  std::int64_t done_ = 0;
  std::int64_t next_line_ = 0;
  std::deque<std::chrono::steady_clock::time_point> finish_times_;  ///< of the last iterations
  std::chrono::steady_clock::time_point begun_;
  std::map<std::string, std::size_t> alarms_;  ///< by code
  std::string running_;
  int ticks_ = 0;
  bool drawn_ = false;
  bool stopping_ = false;
  bool paused_ = false;
  std::unique_ptr<Ticker> ticker_;
};

}  // namespace rewardloom::cli
