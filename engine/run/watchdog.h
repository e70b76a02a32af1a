// Looks at running nodes from a thread of its own: says who is late and who waits for whom.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom {

/// A node as the watchdog sees it.
struct WatchedNode {
  std::string name;
  std::vector<std::string> waiting;      ///< nodes that wait for this one, directly
  double deadline = 0;                   ///< seconds; 0: none
  std::atomic<std::int64_t> started{0};  ///< steady-clock nanoseconds; 0: not running
  bool container = false;  ///< runs other nodes: time in which they are held is not its own
  std::atomic<std::int64_t> held{0};  ///< of a container: WatchdogOptions::held at the start
  std::atomic<bool> expired{false};   ///< set when the deadline is over: the node should give up
  std::int64_t reported = 0;          ///< the start that was last reported; the watchdog's own
};

struct WatchdogOptions {
  double period = 0.05;  ///< seconds between looks
  double patience = 30;  ///< a node that runs longer is reported, with who waits for it
  double grace = 5;      ///< after its deadline a node has this long to give up
  /// Nanoseconds for which nodes were held by a person so far; empty: never.
  std::function<std::int64_t()> held;
  /// A late or slow node; code node-slow, node-deadline.
  std::function<void(const Problem&)> report;
  /// A node that ignored its deadline: the run cannot go on in this process. Code node-hung.
  std::function<void(const Problem&)> hung;
};

class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  void watch(WatchedNode* node);
  void forget(WatchedNode* node);
  /// The names of the nodes that run now; from any thread.
  std::vector<std::string> running();

 private:
  void look();
  void look_at(WatchedNode& node, std::int64_t now, std::int64_t held);

  WatchdogOptions options_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<WatchedNode*> nodes_;
  bool stop_ = false;
  std::thread thread_;
};

std::int64_t steady_nanoseconds();

}  // namespace rewardloom
