#include "engine/run/watchdog.h"

#include <fmt/format.h>

#include <algorithm>

namespace rewardloom {

std::int64_t steady_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Watchdog::Watchdog(WatchdogOptions options) : options_(std::move(options)) {
  thread_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, std::chrono::duration<double>(options_.period),
                           [&] { return stop_; })) {
      look();
    }
  });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch(WatchedNode* node) {
  const std::lock_guard lock(mutex_);
  nodes_.push_back(node);
}

void Watchdog::forget(WatchedNode* node) {
  const std::lock_guard lock(mutex_);
  std::erase(nodes_, node);
}

std::vector<std::string> Watchdog::running() {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const WatchedNode* node : nodes_) {
    if (node->started.load(std::memory_order_acquire) != 0) names.push_back(node->name);
  }
  return names;
}

void Watchdog::look() {
  const std::int64_t held = options_.held ? options_.held() : 0;
  const std::int64_t now = steady_nanoseconds();
  for (WatchedNode* node : nodes_) look_at(*node, now, held);
}

namespace {

std::string who_waits(const WatchedNode& node) {
  if (node.waiting.empty()) return "no other node waits for it";
  return "waiting for it: " + listed(node.waiting, "and");
}

Problem problem_of(const WatchedNode& node, std::string code, std::string text, std::string help) {
  return {Severity::warning, std::move(code), {"", node.name, ""},
          std::move(text),   std::move(help), {}};
}

}  // namespace

void Watchdog::look_at(WatchedNode& node, std::int64_t now, std::int64_t held) {
  const std::int64_t started = node.started.load(std::memory_order_acquire);
  if (started == 0) return;
  std::int64_t own = now - started;
  if (node.container) own -= held - node.held.load(std::memory_order_acquire);
  // Another firing has begun meanwhile: what was read belongs to two.
  if (node.started.load(std::memory_order_relaxed) != started) return;
  const double seconds = static_cast<double>(own) * 1e-9;
  if (node.deadline > 0 && seconds > node.deadline) {
    if (!node.expired.exchange(true)) {
      options_.report(problem_of(node, "node-deadline",
                                 fmt::format("has run for {:.1f} s, its deadline is {:g} s; {}",
                                             seconds, node.deadline, who_waits(node)),
                                 "raise its deadline, or look at what it waits for"));
    }
    if (seconds > node.deadline + options_.grace && options_.hung) {
      Problem problem =
          problem_of(node, "node-hung",
                     fmt::format("does not give up {:.1f} s after its deadline of {:g} s; {}",
                                 seconds - node.deadline, node.deadline, who_waits(node)),
                     "the run ends here; resume it from its last checkpoint");
      problem.severity = Severity::error;
      options_.hung(problem);
    }
    return;
  }
  if (seconds > options_.patience && node.reported != started) {
    node.reported = started;
    options_.report(problem_of(node, "node-slow",
                               fmt::format("has run for {:.0f} s; {}", seconds, who_waits(node)),
                               "give it a deadline to stop the run when it hangs"));
  }
}

}  // namespace rewardloom
