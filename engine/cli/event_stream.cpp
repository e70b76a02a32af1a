#include "engine/cli/event_stream.h"

#include <unistd.h>

#include <cstdio>

#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

constexpr double kNodesPeriod = 0.1;  // seconds

Json nodes_json(const std::vector<NodeRow>& rows) {
  Json nodes = Json::array();
  for (const NodeRow& row : rows) {
    nodes.push_back({{"node", row.node},
                     {"type", row.type},
                     {"firings", row.firings},
                     {"seconds", row.seconds},
                     {"waiting_seconds", row.waiting_seconds},
                     {"failures", row.failures},
                     {"bytes", row.bytes}});
  }
  return nodes;
}

Json plan_nodes_json(const Plan& plan) {
  Json nodes = Json::array();
  for (const PlanNode& node : plan.nodes)
    nodes.push_back({{"node", node.name}, {"type", node.type}});
  return nodes;
}

Json probes_json(const Plan& plan) {
  Json probes = Json::array();
  for (const PlanSlot& slot : plan.slots) {
    if (slot.probe) probes.push_back({{"port", slot.name}, {"type", slot.type}});
  }
  return probes;
}

}  // namespace

void EventStream::write(const Json& event) {
  if (!heard_) return;
  const std::string line = event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  heard_ =
      std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fflush(stdout) == 0;
}

void EventStream::write_problem(const Problem& problem) {
  Json event = {{"event", problem.severity == Severity::error ? "problem" : "alarm"}};
  event.update(to_json(problem));
  write(event);
}

void EventStream::metric(std::int64_t, const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  metrics_[name] = value;
}

void EventStream::problem(const Problem& problem) {
  const std::lock_guard lock(mutex_);
  if (run_ == nullptr) {
    early_problems_.push_back(problem);
  } else {
    write_problem(problem);
  }
}

void EventStream::started(const Run& run) {
  const std::lock_guard lock(mutex_);
  run_ = &run;
  iteration_ = run.first_iteration();
  const RunInfo& info = run.info();
  write({{"event", "start"},
         {"rewardloom", info.version},
         {"libtorch", info.libtorch},
         {"graph", info.graph_file},
         {"graph_hash", info.graph_hash},
         {"folder", std::filesystem::absolute(run.folder()).string()},
         {"first", run.first_iteration()},
         {"iterations", run.iterations()},
         {"seed", info.seed},
         {"device", info.device},
         {"threads", info.threads},
         {"nodes", plan_nodes_json(run.plan())},
         {"probes", probes_json(run.plan())}});
  for (const Problem& problem : early_problems_) write_problem(problem);
  ticker_ = std::make_unique<Ticker>(kNodesPeriod, [this] { tick(); });
}

void EventStream::iteration_done(std::int64_t iteration, double seconds) {
  const std::lock_guard lock(mutex_);
  iteration_ = iteration + 1;
  write(
      {{"event", "metrics"}, {"iteration", iteration}, {"seconds", seconds}, {"values", metrics_}});
  metrics_.clear();
  const auto now = std::chrono::steady_clock::now();
  if (std::chrono::duration<double>(now - nodes_written_).count() < kNodesPeriod) return;
  nodes_written_ = now;
  write_nodes(iteration);
}

void EventStream::write_nodes(std::int64_t iteration) {
  running_.clear();
  write({{"event", "nodes"},
         {"iteration", iteration},
         {"running", Json::array()},
         {"nodes", nodes_json(run_->node_rows())}});
}

void EventStream::tick() {
  // Asked for outside the lock: the watchdog holds its own while it reports.
  std::vector<std::string> running = run_->running_nodes();
  std::unique_lock lock(mutex_);
  if (!heard_) {
    // Also outside: a run calls paused() while it holds what stop() needs.
    lock.unlock();
    if (unheard) unheard();
    return;
  }
  if (running == running_) return;
  running_ = std::move(running);
  write({{"event", "nodes"}, {"iteration", iteration_}, {"running", running_}});
}

void EventStream::checkpoint_written(std::int64_t iteration, const std::string& folder) {
  const std::lock_guard lock(mutex_);
  write({{"event", "checkpoint"}, {"iteration", iteration}, {"folder", folder}});
}

void EventStream::paused(bool is_paused) {
  const std::lock_guard lock(mutex_);
  if (paused_ == is_paused && !is_paused) return;
  paused_ = is_paused;
  write({{"event", is_paused ? "paused" : "resumed"}, {"iteration", iteration_}});
}

void EventStream::stopped_at(const std::string& node, const std::string& breakpoint,
                             std::int64_t iteration) {
  const std::lock_guard lock(mutex_);
  paused_ = true;
  Json event = {{"event", "stopped"}, {"iteration", iteration}};
  if (!node.empty()) event["node"] = node;
  if (!breakpoint.empty()) event["breakpoint"] = breakpoint;
  write(event);
}

void EventStream::hung(const Problem& problem) {
  print_problem(problem);
  {
    const std::lock_guard lock(mutex_);
    write_problem(problem);
    write({{"event", "end"}, {"state", "failed"}, {"exit", static_cast<int>(kFailed)}});
  }
  _exit(kFailed);
}

void EventStream::refused(const std::vector<Problem>& problems, ExitStatus status) {
  const std::lock_guard lock(mutex_);
  for (const Problem& problem : problems) write_problem(problem);
  write({{"event", "end"}, {"state", "refused"}, {"exit", static_cast<int>(status)}});
}

void EventStream::stopping() {
  const std::lock_guard lock(mutex_);
  write({{"event", "stopping"}, {"iteration", iteration_}});
}

void EventStream::command_done(const std::string& command) {
  const std::lock_guard lock(mutex_);
  write({{"event", "command"}, {"command", command}});
}

void EventStream::command_failed(const std::string& command, const Problem& problem) {
  const std::lock_guard lock(mutex_);
  write({{"event", "error"}, {"command", command}, {"problem", to_json(problem)}});
}

void EventStream::finished(const Run& run, RunEnd end) {
  ticker_.reset();
  const std::lock_guard lock(mutex_);
  write_nodes(iteration_);
  Json event = {{"event", "end"},
                {"state", to_string(end)},
                {"exit", static_cast<int>(exit_status(end))},
                {"completed", run.info().completed},
                {"iterations", run.iterations()},
                {"seconds", run.info().seconds},
                {"folder", std::filesystem::absolute(run.folder()).string()}};
  if (run.failure()) {
    write_problem(*run.failure());
    print_problem(*run.failure());
    event["problem"] = to_json(*run.failure());
  }
  if (end != RunEnd::done) {
    const HowToResume how = how_to_resume(run);
    event["resume"] = how.command;
    event["resume_after"] = how.after ? Json(*how.after) : Json(nullptr);
  }
  write(event);
}

}  // namespace rewardloom::cli
