// Where a run waits for a person: before a node, before an iteration, node by node.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom {

/// "reward/accuracy > 0.9", "iteration >= 20": a metric's newest value, or the number of the
/// iteration, against a number.
struct PauseCondition {
  enum class Comparison { less, less_equal, greater, greater_equal, equal, not_equal };
  std::string metric;  ///< "iteration" is the iteration's number
  Comparison comparison = Comparison::greater;
  double value = 0;

  /// Failure `bad-breakpoint` for anything else.
  static PauseCondition parse(std::string_view text);
  std::string text() const;
  bool holds(double found) const;
};

struct Breakpoint {
  std::string node;  ///< a node's path, "held_out/grade"; empty: before an iteration
  std::optional<PauseCondition> when;

  /// "adv", "adv if reward/accuracy > 0.9", "if iteration >= 20". Failure `bad-breakpoint`.
  static Breakpoint parse(std::string_view text);
  std::string text() const;
};

/// Nodes ask before they fire and are held where one of these stands. Holding a node never changes
/// a number: values and random streams do not depend on the schedule. All calls from any thread.
class Breakpoints {
 public:
  /// A node is held, with the breakpoint that holds it (empty while stepping). Called by the thread
  /// that fires the node, without locks.
  std::function<void(const std::string& node, const std::string& breakpoint,
                     std::int64_t iteration)>
      stopped;

  /// One of the same place is replaced.
  void add(Breakpoint breakpoint);
  void remove(const std::string& node);
  void clear();

  /// From now on every node waits to be let through.
  void hold();
  /// Lets one node through: the first that waits, or the next that comes. Where none is held, the
  /// next that comes waits.
  void step();
  /// Lets all through until this node is about to fire; says whether any waited.
  bool run_to(const std::string& node);
  /// Lets all through that wait; says whether any did.
  bool release();
  /// Never holds anything again: the run is ending.
  void open();

  /// Asked by a node that is about to fire; returns when it may.
  void before_node(const std::string& node, std::int64_t iteration) {
    if (watching_.load(std::memory_order_relaxed)) wait_at(node, iteration);
  }
  /// The breakpoint that says to pause before this iteration, as a text, or empty.
  std::string before_iteration(std::int64_t iteration);
  /// Those whose conditions are about a metric that nobody has given yet.
  std::vector<Breakpoint> never_seen() const;
  /// For how long nodes have been held so far, in nanoseconds; several at once count once.
  std::int64_t held_nanoseconds() const;
  void metric(const std::string& name, double value) {
    if (conditions_.load(std::memory_order_relaxed)) note_metric(name, value);
  }

 private:
  void wait_at(const std::string& node, std::int64_t iteration);
  void note_metric(const std::string& name, double value);
  bool holds(const Breakpoint& breakpoint, std::int64_t iteration) const;
  std::string breakpoint_at(const std::string& node, std::int64_t iteration) const;
  void update();
  bool may_pass(const std::string& node) const;
  void begin_waiting(const std::string& node);
  void end_waiting(const std::string& node);
  bool let_go();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Breakpoint> list_;
  std::map<std::string, double> metrics_;
  std::vector<const std::string*> waiting_;  ///< in the order in which they came
  std::int64_t held_before_ = 0;  ///< nanoseconds, until the last time that nobody waited
  std::int64_t held_since_ = 0;   ///< steady clock, where somebody waits
  bool held_ = false;
  bool open_ = false;
  int passes_ = 0;
  std::string target_;
  std::atomic<bool> watching_{false};
  std::atomic<bool> conditions_{false};
};

}  // namespace rewardloom
