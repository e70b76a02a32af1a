#include "engine/cli/progress_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "engine/cli/run_summary.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

constexpr double kRedrawPeriod = 0.1;  // seconds
constexpr int kTicksBetweenReads = 10;
constexpr std::size_t kShownMetrics = 2;
constexpr std::size_t kSummaryMetrics = 5;
constexpr std::size_t kSummaryLines = 12;
constexpr std::size_t kFewBranches = 2;
constexpr std::size_t kSpeedWindow = 50;  // iterations

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The branches side by side; nothing of a store that cannot be read.
Comparison comparison_of(const Run& run) {
  try {
    return compared_run(run.folder(), static_cast<std::size_t>(terminal_width(stdout)),
                        kSummaryLines);
  } catch (const Failure&) {
    return {};
  }
}

}  // namespace

ProgressReport::ProgressReport(bool quiet)
    : quiet_(quiet),
      redraw_(!quiet && is_terminal(stderr) && is_terminal(stdout)),
      begun_(std::chrono::steady_clock::now()) {}

void ProgressReport::erase() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void ProgressReport::line(const std::string& text) {
  erase();
  std::fputs((text + "\n").c_str(), stderr);
}

void ProgressReport::metric(std::int64_t, const std::string& name, double value) {
  metrics_.add(name, value);
}

void ProgressReport::problem(const Problem& problem) {
  const std::lock_guard lock(mutex_);
  if (problem.severity != Severity::note) ++alarms_[problem.code];
  if (quiet_ && problem.severity != Severity::error) return;
  // The first of a kind is told, the others are counted in the summary.
  if (problem.severity != Severity::error && alarms_[problem.code] > 1) return;
  erase();
  print_problem(problem);
}

void ProgressReport::started(const Run& run) {
  {
    const std::lock_guard lock(mutex_);
    run_ = &run;
    metrics_.set_about(about_of(run.folder()));
    begun_ = std::chrono::steady_clock::now();
    finish_times_.assign(1, begun_);
    done_ = run.first_iteration();
    next_line_ = done_ + std::max<std::int64_t>(1, (run.iterations() - done_) / 10);
    if (quiet_) return;
    if (done_ >= run.iterations() && done_ > 0) {
      line(fmt::format("all {} iterations are done already; --iterations N asks for more", done_));
    }
  }
  if (redraw_) ticker_ = std::make_unique<Ticker>(kRedrawPeriod, [this] { tick(); });
}

double ProgressReport::iterations_per_second() const {
  const double seconds =
      std::chrono::duration<double>(finish_times_.back() - finish_times_.front()).count();
  return seconds > 0 ? static_cast<double>(finish_times_.size() - 1) / seconds : 0;
}

std::string ProgressReport::numbers(std::size_t width) const {
  std::string text;
  if (const std::optional<BranchSpan> span = metrics_.branches()) {
    const std::string low = number_text(span->lowest.last);
    const std::string high = number_text(span->highest.last);
    if (low == high) return fmt::format("  {} {} in all branches", span->metric, low);
    text = fmt::format("  {} {} ({}) to {} ({})", span->metric, low, span->lowest.name, high,
                       span->highest.name);
    if (text_width(text) <= width) return text;
    return fmt::format("  {} {} to {}", span->metric, low, high);
  }
  for (const KeyMetric& metric : metrics_.key(kShownMetrics)) {
    const std::string one = fmt::format("  {} {}", metric.name, number_text(metric.last));
    if (!text.empty() && text_width(text + one) > width) break;
    text += one;
  }
  return text;
}

std::string ProgressReport::progress_line(std::size_t width) const {
  const std::int64_t all = run_->iterations();
  const double speed = iterations_per_second();
  std::string time;
  if (speed > 0) {
    time = speed >= 1 ? fmt::format("  {}/s", number_text(speed))
                      : fmt::format("  {} each", duration_text(1 / speed));
    if (done_ < all) {
      time += fmt::format("  {} left", duration_text(static_cast<double>(all - done_) / speed));
    }
  }
  const std::string count = fmt::format("{}/{}", done_, all);
  if (!redraw_) return count + numbers(SIZE_MAX) + time;
  const double share = all > 0 ? static_cast<double>(done_) / static_cast<double>(all) : 1;
  std::string text = fmt::format("{} ▕{}▏{}", count, bar(share, 16), time);
  const std::size_t taken = text_width(text);
  text += numbers(width > taken ? width - taken : 0);
  if (stopping_) {
    text = "stopping after this iteration (again: at once)  " + text;
  } else if (paused_) {
    text = "paused  " + text;
  } else if (!running_.empty()) {
    text += "  " + running_;
  }
  return cut_text(text, width);
}

void ProgressReport::draw() {
  const int width = terminal_width(stderr);
  std::fputs(("\r\033[K" + progress_line(static_cast<std::size_t>(width - 1))).c_str(), stderr);
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressReport::tick() {
  const std::vector<std::string> running = run_->running_nodes();
  if (ticks_++ % kTicksBetweenReads == 0) metrics_.read_rewards(run_->folder());
  const std::lock_guard lock(mutex_);
  running_ = running.empty() ? "" : "· " + running.back();
  draw();
}

void ProgressReport::iteration_done(std::int64_t iteration, double) {
  const std::lock_guard lock(mutex_);
  done_ = iteration + 1;
  finish_times_.push_back(std::chrono::steady_clock::now());
  if (finish_times_.size() > kSpeedWindow + 1) finish_times_.pop_front();
  if (quiet_ || redraw_ || done_ < next_line_) return;
  next_line_ =
      done_ + std::max<std::int64_t>(1, (run_->iterations() - run_->first_iteration()) / 10);
  metrics_.read_rewards(run_->folder());
  line(progress_line(0));
}

void ProgressReport::checkpoint_written(std::int64_t, const std::string&) {}

void ProgressReport::paused(bool is_paused) {
  const std::lock_guard lock(mutex_);
  paused_ = is_paused;
  if (!quiet_ && !redraw_) line(is_paused ? "paused" : "going on");
}

void ProgressReport::command_done(const std::string&) {}
void ProgressReport::command_failed(const std::string&, const Problem&) {}

void ProgressReport::hung(const Problem& problem) {
  const std::lock_guard lock(mutex_);
  erase();
  print_problem(problem);
  line("the node does not give up, so the program ends here\n  go on: " + resume_text(*run_));
  _exit(kFailed);
}

void ProgressReport::refused(const std::vector<Problem>&, ExitStatus) {}

void ProgressReport::stopping() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  if (!quiet_ && !redraw_) line("stopping after this iteration; a second signal ends at once");
}

/// Beside branches only what the graph names besides, or what two of them leave room for.
std::vector<KeyMetric> ProgressReport::summary_metrics(const Comparison& comparison) const {
  const bool few = comparison.lines <= kFewBranches;
  std::vector<KeyMetric> metrics = few ? metrics_.key(kSummaryMetrics) : metrics_.named();
  std::erase_if(metrics, [&](const KeyMetric& m) { return comparison.shown.contains(m.name); });
  const std::size_t room = std::min(kSummaryLines - comparison.lines, kSummaryMetrics);
  if (metrics.size() > room) metrics.resize(room);
  return metrics;
}

void ProgressReport::finished(const Run& run, RunEnd end) {
  ticker_.reset();
  const std::lock_guard lock(mutex_);
  erase();
  if (run.failure()) {
    print_problem(*run.failure());
    if (quiet_) line("  go on: " + resume_text(run));
  }
  if (quiet_) return;
  metrics_.read_rewards(run.folder());
  SummaryFacts facts;
  const Comparison comparison = comparison_of(run);
  facts.branches = comparison.text;
  facts.metrics = summary_metrics(comparison);
  facts.alarms = alarms_;
  facts.nodes = run.node_rows();
  facts.seconds = seconds_since(begun_);
  facts.iterations = done_ - run.first_iteration();
  print(run_summary(run, end, facts));
}

}  // namespace rewardloom::cli
