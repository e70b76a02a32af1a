// A plan with its nodes made and its slots allocated; runs one iteration at a time on oneTBB.
#pragma once
#include <c10/core/Stream.h>
#include <oneapi/tbb/task_group.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/core/step.h"
#include "engine/graph/plan.h"
#include "engine/run/branches.h"
#include "engine/run/environment.h"
#include "engine/run/handover.h"
#include "engine/run/recorder.h"
#include "engine/run/watchdog.h"

namespace rewardloom {

class Ready;

/// Where a runtime stands inside its run.
struct RuntimeScope {
  std::string plan_prefix;  ///< what the names of the plan's nodes start with ("sweep")
  std::string
      display_prefix;  ///< what they are shown and stored under instead ("sweep[shape=par]")
  Branches branches = {};
};

class PlanRuntime {
 public:
  /// Makes all nodes. Throws Failure for parameters that do not fit.
  PlanRuntime(const Plan& plan, Environment& environment, RuntimeScope scope = {});
  ~PlanRuntime();
  PlanRuntime(const PlanRuntime&) = delete;
  PlanRuntime& operator=(const PlanRuntime&) = delete;

  /// Fires every node once. `inputs` are the values for plan.inputs; gives those of plan.outputs.
  /// `iteration` is what the nodes see, `recorded` the run's own under which things are written
  /// down. Throws the first Failure of a node (iteration and node named).
  std::vector<Value> run(const std::vector<Value>& inputs, std::int64_t iteration,
                         std::int64_t recorded, std::uint64_t seed);

  /// Counts and times of all nodes, those of bodies included.
  void add_node_rows(std::vector<NodeRow>& rows, std::int64_t iteration) const;
  /// How many nodes have not finished in this iteration, for progress.
  const Plan& plan() const { return plan_; }

 private:
  class NodeRuntime;
  class LessUrgent;

  void prepare(const std::vector<Value>& inputs);
  void spawn(int node);
  void run_spawned(int node);
  /// Takes the most urgent of the nodes that were spawned.
  int take_ready();
  /// The successors that now wait for nobody: the most urgent is given back (-1: none), the others
  /// are spawned.
  int release_successors(NodeRuntime& node);
  /// What is left to do behind each node, by the time that nodes took so far: the longest way to
  /// the end, in seconds.
  void rank_nodes();
  void wait_for_spawned();
  void fire_chain(int node);
  void fire(NodeRuntime& node);
  bool skip_dead(NodeRuntime& node);
  void attempt(NodeRuntime& node);
  void run_on_device(NodeRuntime& node);
  void run_node(NodeRuntime& node);
  void deliver(NodeRuntime& node, double seconds, double own_seconds);
  std::int64_t held_nanoseconds(const NodeRuntime& node) const;
  void observe(NodeRuntime& node, std::size_t output, const Value& value);
  static TokenText token_text_of(const NodeRuntime& node);
  void release_inputs(NodeRuntime& node);
  void drop_unread(NodeRuntime& node);
  bool ready_on_host(const NodeRuntime& node) const;
  void wait_for_device(int node);
  void poll_devices();
  void note_failure(NodeRuntime& node, const Failure& failure);
  void finish(std::int64_t recorded);
  NamedValues run_body(NodeRuntime& node, std::size_t body, const BodyCall& call);
  PlanRuntime& body_runtime(NodeRuntime& node, const PlanBody& body, const std::string& branch);

  const Plan& plan_;
  Environment& environment_;
  RuntimeScope scope_;
  std::vector<std::unique_ptr<NodeRuntime>> nodes_;
  std::vector<std::unique_ptr<WatchedNode>> watched_;
  std::vector<Value> slots_;
  std::unique_ptr<std::atomic<int>[]> pending_;
  std::unique_ptr<std::atomic<int>[]> readers_;
  std::vector<char> kept_;  ///< slots of nodes whose outputs stay from iteration to iteration

  oneapi::tbb::task_group group_;
  std::vector<double> urgency_;  ///< of each node
  bool ordered_ = false;         ///< whether ready nodes start by urgency
  std::int64_t runs_ = 0;
  std::mutex ready_mutex_;
  std::vector<int> ready_;  ///< spawned and not begun: a heap, the most urgent first
  Handover spawned_;
  Handover fired_;
  std::int64_t iteration_ = 0;
  std::int64_t recorded_ = 0;
  std::uint64_t seed_ = 0;
  std::atomic<bool> failed_{false};
  std::mutex failure_mutex_;
  std::unique_ptr<Failure> failure_;

  std::mutex parked_mutex_;
  std::vector<int> parked_;  ///< CPU nodes that wait for work on a device

  std::mutex bodies_mutex_;
  std::map<std::string, std::unique_ptr<PlanRuntime>> bodies_;
};

}  // namespace rewardloom
