// A run: a graph, checked and compiled, executed for some iterations into a run folder.
#pragma once
#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/registry.h"
#include "engine/graph/document.h"
#include "engine/graph/plan.h"
#include "engine/io/run_rows.h"
#include "engine/run/environment.h"
#include "engine/run/graph_versions.h"
#include "engine/run/run_folder.h"

namespace rewardloom {

struct RunOptions {
  std::optional<std::int64_t> iterations;
  std::optional<std::uint64_t> seed;
  std::string device = "cpu";
  int threads = 0;                        ///< 0: the graph's setting, else all processors
  std::filesystem::path parent = "runs";  ///< where the run folder is made
  std::filesystem::path folder;           ///< resume: the run folder
  bool resume = false;
  /// Resume: the graphs that the run has had, from graph_to_resume(), which also gives the document
  /// for where it resumes; those of later iterations take effect there. None: the given document
  /// holds throughout, and the folder's graph stays as it is.
  std::vector<GraphVersion> versions;
  bool graph_in_file = true;  ///< resume: graph.json need not be written
  bool record = true;
  double patience = 30;                  ///< seconds after which a node is called slow
  std::vector<std::string> plugins;      ///< remembered in run.json
  std::vector<std::string> breakpoints;  ///< see Breakpoint::parse()
};

enum class RunEnd { done, interrupted, failed };

/// Hears of a run's iterations besides its metrics and problems.
class RunObserver : public RunListener {
 public:
  virtual void started(const class Run& run) = 0;
  virtual void iteration_done(std::int64_t iteration, double seconds) = 0;
  virtual void checkpoint_written(std::int64_t iteration, const std::string& folder) = 0;
  virtual void paused(bool is_paused) = 0;
  /// A breakpoint, a step or run_to holds the run: before a node, or (empty) before an iteration.
  virtual void stopped_at(const std::string& node, const std::string& breakpoint,
                          std::int64_t iteration) {
    static_cast<void>(node);
    static_cast<void>(breakpoint);
    static_cast<void>(iteration);
  }
  /// A node ignored its deadline. The process has to end; what is on disk can be resumed.
  virtual void hung(const Problem& problem) = 0;
};

struct Breakpoint;

class Run {
 public:
  /// Checks and compiles; opens the run folder or the one to be resumed. Throws Failure; what the
  /// checker found is in `problems` of CheckFailed.
  Run(Document document, const Registry& registry, RunOptions options,
      RunObserver* observer = nullptr);
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  /// Runs until done, stopped or failed. After a failure, `failure()` says why.
  RunEnd execute();
  const std::optional<Problem>& failure() const { return failure_; }

  // Commands, from any thread; they take effect between iterations, those of nodes within one.
  void stop();
  void pause(bool paused);
  void step();       ///< one iteration (the rest of one that is held within), then pause
  void step_node();  ///< one node, then wait before the next
  /// Goes on until this node is about to fire. Failure `unknown-node`.
  void run_to(const std::string& node);
  /// See Breakpoint::parse(). Failure `bad-breakpoint`, `unknown-node`, `unknown-metric`.
  void add_breakpoint(const std::string& text);
  void remove_breakpoint(const std::string& node);
  void remove_breakpoints();
  void checkpoint();  ///< write one after this iteration
  /// "node.param=value": the graph is checked and compiled anew, state stays. Kept in the run
  /// folder with its iteration, so that a resumed run does the same there. Throws Failure.
  void set(const std::string& assignment);

  const std::filesystem::path& folder() const { return folder_; }
  const RunInfo& info() const { return info_; }
  const Plan& plan() const;
  /// Counts and times of all nodes since the run began. Between iterations only: from the
  /// observer's calls on the thread of execute(), or after it.
  std::vector<NodeRow> node_rows() const;
  /// The nodes that run now; from any thread.
  std::vector<std::string> running_nodes() const;
  std::int64_t first_iteration() const { return first_; }
  std::int64_t iterations() const { return info_.iterations; }

 private:
  struct Parts;
  void open_folder();
  void compile_plan();
  void restore();
  void take_versions();
  bool wait_while_paused();
  void run_iteration(std::int64_t iteration);
  void write_checkpoint(std::int64_t completed);
  void finish(RunEnd end);
  void apply_changes();
  void adopt(Document changed);
  void keep_version(std::vector<std::string> set);
  void change_later_versions(const std::vector<std::string>& sets);
  void note_set(const std::vector<std::string>& set);
  void tell(std::int64_t iteration, Problem problem);
  void tell_of_lost_history();
  void tell_of_unseen_conditions();
  void require_metric(const Breakpoint& breakpoint);
  void start_parts();
  void require_node(const std::string& node);
  bool let_nodes_go(bool any_waited);

  Document document_;
  const Registry& registry_;
  RunOptions options_;
  RunObserver* observer_;
  std::filesystem::path folder_;
  RunInfo info_;
  std::int64_t first_ = 0;
  std::int64_t completed_ = 0;
  std::optional<Problem> failure_;
  std::unique_ptr<Parts> parts_;

  std::mutex command_mutex_;
  std::condition_variable command_;
  bool stop_ = false;
  bool paused_ = false;
  int steps_ = 0;
  bool checkpoint_wanted_ = false;
  std::vector<std::string> pending_sets_;
  std::vector<std::string> node_names_;
  bool in_iteration_ = false;
};

/// Thrown by Run when the graph does not check.
class CheckFailed : public Failure {
 public:
  explicit CheckFailed(std::vector<Problem> problems);
  const std::vector<Problem>& problems() const { return problems_; }

 private:
  std::vector<Problem> problems_;
};

/// To be called first in a program. Sets LibTorch's and OpenBLAS's own thread counts to 1:
/// parallelism comes from oneTBB, in splits that do not depend on the thread count, so that results
/// do not either. Makes the allocator give large tensors back as soon as they are freed.
void prepare_process();

}  // namespace rewardloom
