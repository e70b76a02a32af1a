#include "engine/run/run.h"

#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <fmt/format.h>
#include <malloc.h>
#include <oneapi/tbb/task_arena.h>

#include <chrono>
#include <thread>

#include "engine/core/node_paths.h"
#include "engine/core/version.h"
#include "engine/graph/checker.h"
#include "engine/graph/hash.h"
#include "engine/graph/override.h"
#include "engine/graph/settings.h"
#include "engine/io/checkpoint_files.h"
#include "engine/run/breakpoints.h"
#include "engine/run/devices.h"
#include "engine/run/handover.h"
#include "engine/run/out_of_memory.h"
#include "engine/run/plan_runtime.h"
#include "engine/run/recorder.h"
#include "engine/run/reward_watch.h"
#include "engine/run/state_store.h"
#include "engine/run/torch_version.h"

namespace rewardloom {
namespace fs = std::filesystem;

namespace {

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string all_text(const std::vector<Problem>& problems) {
  std::string text;
  std::size_t errors = 0;
  for (const Problem& problem : problems) {
    if (problem.severity != Severity::error) continue;
    ++errors;
    text += (text.empty() ? "" : "\n") + format(problem);
  }
  return fmt::format("the graph has {} error{}\n{}", errors, errors == 1 ? "" : "s", text);
}

}  // namespace

CheckFailed::CheckFailed(std::vector<Problem> problems)
    : Failure("graph-errors", all_text(problems)), problems_(std::move(problems)) {}

void prepare_process() {
  // A fixed threshold: large tensors go back to the system when they are freed. glibc would raise
  // it to their size and keep ten of them.
  mallopt(M_MMAP_THRESHOLD, 4 << 20);
  // Smaller ones are freed and wanted again all the time: handing the end of a heap back at once
  // costs a page fault for each page when it is needed next.
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
  at::set_num_threads(1);
  // OpenBLAS keeps a pool of its own that LibTorch's setting does not reach.
  using SetThreads = void (*)(int);
  const auto set = reinterpret_cast<SetThreads>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
  if (set != nullptr) set(1);
}

struct Run::Parts {
  explicit Parts(const Registry& registry) : environment{registry, states, streams} {}
  StateStore states;
  DeviceStreams streams;
  RunFolderLock lock;
  Environment environment;
  std::unique_ptr<Plan> plan;
  std::unique_ptr<Recorder> recorder;
  Breakpoints breakpoints;
  RewardWatch reward_watch;
  std::unique_ptr<Watchdog> watchdog;  // after what it asks for the time that was held
  std::unique_ptr<oneapi::tbb::task_arena> arena;
  std::unique_ptr<PlanRuntime> runtime;
  std::vector<NodeRow> earlier_rows;  ///< of nodes before this runtime
  GraphVersion version;               ///< in force, without its graph
  std::vector<GraphVersion> later;    ///< that a resumed run has yet to come to
  bool history_lost = false;
};

Run::Run(Document document, const Registry& registry, RunOptions options, RunObserver* observer)
    : document_(std::move(document)),
      registry_(registry),
      options_(std::move(options)),
      observer_(observer),
      parts_(std::make_unique<Parts>(registry)) {
  compile_plan();
  for (const std::string& text : options_.breakpoints) add_breakpoint(text);
  open_folder();
  start_parts();
}

Run::~Run() = default;

const Plan& Run::plan() const { return *parts_->plan; }

namespace {

void add_names(const Plan& plan, std::vector<std::string>& names) {
  for (const PlanNode& node : plan.nodes) {
    names.push_back(node.name);
    for (const PlanBody& body : node.bodies) add_names(*body.plan, names);
  }
}

}  // namespace

void Run::compile_plan() {
  CheckResult result = check(document_, registry_.catalogue());
  if (!result.ok()) throw CheckFailed(std::move(result.problems));
  if (observer_) {
    for (const Problem& problem : result.problems) observer_->problem(problem);
  }
  parts_->plan = std::make_unique<Plan>(compile(document_, registry_.catalogue()));
  const std::lock_guard lock(command_mutex_);
  node_names_.clear();
  add_names(*parts_->plan, node_names_);
}

void Run::open_folder() {
  const Json& settings = parts_->plan->settings;
  if (options_.resume) {
    folder_ = options_.folder;
    const bool names_checkpoint = folder_.parent_path().filename() == "checkpoints";
    if (names_checkpoint) folder_ = folder_.parent_path().parent_path();
    info_ = read_run_info(folder_);
    parts_->lock = RunFolderLock(folder_);
    restore();
    parts_->history_lost = options_.record && first_ > 0 && !has_history(folder_);
    take_versions();
  } else {
    info_.graph_hash = graph_hash(document_);
    info_.graph_file = document_.file.empty() ? "" : fs::absolute(document_.file).string();
    info_.seed = options_.seed.value_or(settings.at("seed").get<std::uint64_t>());
    info_.iterations = settings.at("iterations");
    info_.started = unix_seconds();
    info_.plugins = options_.plugins;
  }
  // What is complete is not undone by asking for less.
  if (options_.iterations) info_.iterations = std::max(*options_.iterations, first_);
  info_.version = kVersion;
  info_.libtorch = kLibTorchVersion;
  info_.device = options_.device;
  info_.threads = options_.threads > 0 ? options_.threads : settings.at("threads").get<int>();
  if (info_.threads <= 0) info_.threads = static_cast<int>(std::thread::hardware_concurrency());
  info_.state = "running";
  info_.problem = nullptr;
  if (options_.record && !options_.resume) {
    const std::string stem = fs::path(document_.file).stem().string();
    folder_ = make_run_folder(options_.parent, stem.empty() ? document_.name : stem);
    parts_->lock = RunFolderLock(folder_);
    keep_version({});
  }
  if (options_.record) {
    if (!options_.resume || !options_.graph_in_file) {
      write_graph(folder_, document_, *parts_->plan);
    }
    write_run_info(folder_, info_);
  }
}

void Run::take_versions() {
  if (options_.versions.empty()) return;
  // A folder of an older program has none: what it began with has to be known before it changes.
  if (options_.record && read_graph_versions(folder_).empty()) {
    write_graph_version(folder_, options_.versions.front());
  }
  for (GraphVersion& version : options_.versions) {
    if (version.from > first_) {
      parts_->later.push_back(std::move(version));
    } else {
      parts_->version = {version.from, version.set, version.graph_hash, {}};
    }
  }
  info_.graph_hash = parts_->version.graph_hash;
}

void Run::restore() {
  const fs::path checkpoints = folder_ / "checkpoints";
  const bool named = options_.folder.parent_path().filename() == "checkpoints";
  CheckpointInfo info;
  try {
    info = named ? verify_checkpoint(options_.folder) : newest_checkpoint(checkpoints);
  } catch (const Failure& failure) {
    // A run that was ended before its first checkpoint begins anew.
    if (!named && failure.problem().code == "checkpoint-missing") return;
    throw;
  }
  std::map<std::string, Package> states;
  for (const auto& [file, key] : info.meta.at("states").items()) {
    states[key.get<std::string>()] = load_checkpoint(info.path, file);
  }
  parts_->states.restore(std::move(states));
  remove_checkpoints_after(checkpoints, info.iteration);
  first_ = info.iteration;
  completed_ = first_;
  for (const Json& row : info.meta.value("nodes", Json::array())) {
    NodeRow node;
    node.node = row.at("node");
    node.firings = row.at("firings");
    node.seconds = row.at("seconds");
    node.waiting_seconds = row.at("waiting_seconds");
    node.failures = row.at("failures");
    node.bytes = row.at("bytes");
    parts_->earlier_rows.push_back(node);
  }
}

void Run::start_parts() {
  Environment& environment = parts_->environment;
  environment.file = document_.file;
  environment.run_dir = folder_.string();
  environment.listener = observer_;
  environment.device = parse_device(options_.device);
  if (options_.record) {
    RecorderOptions recorder;
    recorder.folder = folder_;
    recorder.samples = parts_->plan->settings.at("record_samples");
    recorder.bins = parts_->plan->settings.at("record_bins");
    recorder.seed = info_.seed;
    if (options_.resume) recorder.resumed_at = first_;
    parts_->recorder = std::make_unique<Recorder>(recorder);
    environment.recorder = parts_->recorder.get();
    if (first_ > 0) {
      RunReader recorded(folder_);  // what the recorder has just cut off is gone
      parts_->reward_watch.restore(recorded);
    }
  }
  environment.reward_watch = &parts_->reward_watch;
  WatchdogOptions watchdog;
  watchdog.patience = options_.patience;
  watchdog.held = [this] { return parts_->breakpoints.held_nanoseconds(); };
  watchdog.report = [this](const Problem& problem) {
    if (parts_->recorder) parts_->recorder->alarm(completed_, problem);
    if (observer_) observer_->problem(problem);
  };
  watchdog.hung = [this](const Problem& problem) {
    if (parts_->recorder) {
      parts_->recorder->alarm(completed_, problem);
      parts_->recorder->flush();
    }
    if (observer_) observer_->hung(problem);
  };
  parts_->watchdog = std::make_unique<Watchdog>(std::move(watchdog));
  environment.watchdog = parts_->watchdog.get();
  environment.breakpoints = &parts_->breakpoints;
  parts_->breakpoints.stopped = [this](const std::string& node, const std::string& breakpoint,
                                       std::int64_t iteration) {
    if (observer_) observer_->stopped_at(node, breakpoint, iteration);
  };
  parts_->arena = std::make_unique<oneapi::tbb::task_arena>(info_.threads);
  parts_->runtime = std::make_unique<PlanRuntime>(*parts_->plan, environment);
}

RunEnd Run::execute() {
  if (parts_->recorder) {
    parts_->recorder->event(first_, options_.resume ? "resume" : "start", "",
                            {{"iterations", info_.iterations}, {"threads", info_.threads}});
  }
  tell_of_lost_history();
  // Resuming deleted what was noted of the iterations to come, this one's change among it.
  if (options_.resume && parts_->version.from == first_) note_set(parts_->version.set);
  if (observer_) observer_->started(*this);
  const std::int64_t every = parts_->plan->settings.at("checkpoint_every");
  RunEnd end = RunEnd::done;
  try {
    for (std::int64_t iteration = first_; iteration < info_.iterations; ++iteration) {
      if (!wait_while_paused()) {
        end = RunEnd::interrupted;
        break;
      }
      apply_changes();
      run_iteration(iteration);
      const bool wanted = std::exchange(checkpoint_wanted_, false);
      const bool due = every > 0 && completed_ % every == 0;
      if ((due || wanted) && completed_ < info_.iterations) write_checkpoint(completed_);
    }
    if (completed_ > first_ || end == RunEnd::done) write_checkpoint(completed_);
  } catch (const Failure& failure) {
    failure_ = failure.problem();
    end = RunEnd::failed;
  } catch (const std::exception& error) {
    const auto memory = out_of_memory(error);
    if (!memory) throw;
    failure_ = memory->problem();
    end = RunEnd::failed;
  }
  if (end != RunEnd::failed) tell_of_unseen_conditions();
  finish(end);
  parts_->lock = {};
  return end;
}

void Run::run_iteration(std::int64_t iteration) {
  const auto start = std::chrono::steady_clock::now();
  const Handover begun;
  const Handover ended;
  begun.give();
  parts_->arena->execute([&] {
    begun.take();
    parts_->runtime->run({}, iteration, iteration, info_.seed);
    ended.give();
  });
  ended.take();
  completed_ = iteration + 1;
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  info_.seconds += seconds;
  for (Problem& problem : parts_->reward_watch.suspects(iteration)) {
    tell(iteration, std::move(problem));
  }
  if (observer_) observer_->iteration_done(iteration, seconds);
}

namespace {

std::vector<NodeRow> summed(std::vector<NodeRow> rows, const std::vector<NodeRow>& earlier) {
  for (NodeRow& row : rows) {
    for (const NodeRow& before : earlier) {
      if (before.node != row.node) continue;
      row.firings += before.firings;
      row.seconds += before.seconds;
      row.waiting_seconds += before.waiting_seconds;
      row.failures += before.failures;
      row.bytes += before.bytes;
    }
  }
  return rows;
}

Json node_row_json(const NodeRow& row) {
  return {{"node", row.node},         {"firings", row.firings},
          {"seconds", row.seconds},   {"waiting_seconds", row.waiting_seconds},
          {"failures", row.failures}, {"bytes", row.bytes}};
}

}  // namespace

std::vector<NodeRow> Run::node_rows() const {
  std::vector<NodeRow> rows;
  if (parts_->runtime) parts_->runtime->add_node_rows(rows, completed_);
  return summed(std::move(rows), parts_->earlier_rows);
}

std::vector<std::string> Run::running_nodes() const { return parts_->watchdog->running(); }

void Run::write_checkpoint(std::int64_t completed) {
  if (!options_.record) return;
  Json rows = Json::array();
  for (const NodeRow& row : node_rows()) {
    parts_->recorder->node(row);
    rows.push_back(node_row_json(row));
  }
  // What the checkpoint stands for must be in the store before the checkpoint is there.
  parts_->recorder->flush();
  CheckpointWriter writer(folder_ / "checkpoints", completed);
  Json states = Json::object();
  for (const auto& [key, package] : parts_->states.save()) {
    const std::string file = fmt::format("state-{:04}", states.size());
    writer.add(file, package);
    states[file] = key;
  }
  writer.set_meta({{"rewardloom", kVersion},
                   {"graph_hash", info_.graph_hash},
                   {"states", states},
                   {"nodes", rows}});
  const fs::path path = writer.commit(parts_->plan->settings.at("checkpoint_keep").get<int>());
  info_.completed = completed;
  write_run_info(folder_, info_);
  parts_->recorder->event(completed, "checkpoint", "", {{"folder", path.filename().string()}});
  if (observer_) observer_->checkpoint_written(completed, path.string());
}

void Run::finish(RunEnd end) {
  info_.completed = completed_;
  info_.state = end == RunEnd::done ? "done" : end == RunEnd::failed ? "failed" : "interrupted";
  if (failure_) info_.problem = to_json(*failure_);
  if (!options_.record) return;
  if (failure_) parts_->recorder->alarm(completed_, *failure_);
  parts_->recorder->event(completed_, info_.state, "",
                          {{"dropped_values", parts_->recorder->dropped_values()},
                           {"dropped_spans", parts_->recorder->dropped_spans()}});
  try {
    parts_->recorder->close();
    write_run_info(folder_, info_);
  } catch (const Failure& failure) {
    // The first fault is the one to tell; a full disk shows up here a second time.
    if (!failure_) failure_ = failure.problem();
  }
}

// ---- commands ----

bool Run::wait_while_paused() {
  const std::string breakpoint = parts_->breakpoints.before_iteration(completed_);
  std::unique_lock lock(command_mutex_);
  in_iteration_ = false;
  if (!breakpoint.empty() && steps_ == 0 && !stop_) {
    paused_ = true;
    if (observer_) observer_->stopped_at("", breakpoint, completed_);
  }
  if (steps_ > 0) {
    --steps_;
    in_iteration_ = !stop_;
    return !stop_;
  }
  const bool held = paused_ && !stop_;
  const auto tell = [&](bool paused) {
    if (observer_) observer_->paused(paused);
    // For whoever watches the folder.
    if (parts_->recorder) {
      parts_->recorder->event(completed_, paused ? "paused" : "resumed", "", Json::object());
    }
  };
  if (held) tell(true);
  command_.wait(lock, [&] { return !paused_ || steps_ > 0 || stop_; });
  if (steps_ > 0) --steps_;
  if (held) tell(false);
  in_iteration_ = !stop_;
  return !stop_;
}

void Run::stop() {
  const std::lock_guard lock(command_mutex_);
  stop_ = true;
  parts_->breakpoints.open();
  command_.notify_all();
}

void Run::pause(bool paused) {
  const std::lock_guard lock(command_mutex_);
  paused_ = paused;
  if (!paused) let_nodes_go(parts_->breakpoints.release());
  command_.notify_all();
}

void Run::step() {
  const std::lock_guard lock(command_mutex_);
  paused_ = true;
  if (let_nodes_go(parts_->breakpoints.release())) return;
  ++steps_;
  command_.notify_all();
}

bool Run::let_nodes_go(bool any_waited) {
  if (any_waited && observer_) observer_->paused(false);
  return any_waited;
}

void Run::step_node() {
  const std::lock_guard lock(command_mutex_);
  if (in_iteration_) return parts_->breakpoints.step();
  // Between iterations the first node of the next one is where to stand.
  parts_->breakpoints.hold();
  paused_ = true;
  ++steps_;
  command_.notify_all();
}

void Run::run_to(const std::string& node) {
  require_node(node);
  const std::lock_guard lock(command_mutex_);
  paused_ = false;
  let_nodes_go(parts_->breakpoints.run_to(node));
  command_.notify_all();
}

void Run::require_node(const std::string& node) {
  const std::lock_guard lock(command_mutex_);
  if (std::find(node_names_.begin(), node_names_.end(), node) != node_names_.end()) return;
  const std::vector<std::string> near = nearest(node, node_names_);
  throw Failure("unknown-node", fmt::format("there is no node {}", node),
                near.empty() ? "rewardloom graph draws the graph with its names"
                             : "did you mean " + listed(near) + "?");
}

void Run::add_breakpoint(const std::string& text) {
  Breakpoint breakpoint = Breakpoint::parse(text);
  if (!breakpoint.node.empty()) require_node(breakpoint.node);
  require_metric(breakpoint);
  parts_->breakpoints.add(std::move(breakpoint));
}

/// Metrics are named for the node that gives them; which a node gives is known only once it has.
void Run::require_metric(const Breakpoint& breakpoint) {
  if (!breakpoint.when || breakpoint.when->metric == "iteration") return;
  const std::string metric = without_branches(breakpoint.when->metric);
  const std::lock_guard lock(command_mutex_);
  for (const std::string& node : node_names_) {
    if (metric.starts_with(node + "/")) return;
  }
  const std::string node = metric.substr(0, metric.rfind('/'));
  const std::vector<std::string> near = metric.find('/') == std::string::npos
                                            ? std::vector<std::string>{}
                                            : nearest(node, node_names_);
  std::string help = "metrics are named NODE/NAME";
  if (!near.empty()) {
    help += fmt::format("; did you mean the node {}?", listed(near));
  } else if (!breakpoint.node.empty()) {
    help += fmt::format(", such as {}/{}", breakpoint.node, metric);
  }
  throw Failure("unknown-metric", fmt::format("no node of this graph gives a metric {}", metric),
                help);
}

void Run::remove_breakpoint(const std::string& node) { parts_->breakpoints.remove(node); }

void Run::remove_breakpoints() { parts_->breakpoints.clear(); }

void Run::checkpoint() {
  const std::lock_guard lock(command_mutex_);
  checkpoint_wanted_ = true;
}

void Run::set(const std::string& assignment) {
  const auto [base, pending] = [&] {
    const std::lock_guard lock(command_mutex_);
    return std::pair(document_, pending_sets_);
  }();
  Document changed = base;
  for (const std::string& earlier : pending)
    apply_override(changed, earlier, &registry_.catalogue());
  apply_override(changed, assignment, &registry_.catalogue());
  CheckResult result = check(changed, registry_.catalogue());
  if (!result.ok()) throw CheckFailed(std::move(result.problems));
  const std::lock_guard lock(command_mutex_);
  pending_sets_.push_back(assignment);
}

void Run::apply_changes() {
  std::vector<std::string> sets;
  {
    const std::lock_guard lock(command_mutex_);
    sets.swap(pending_sets_);
  }
  std::vector<GraphVersion>& later = parts_->later;
  if (!later.empty() && later.front().from == completed_) {
    GraphVersion version = std::move(later.front());
    later.erase(later.begin());
    version.graph.file = document_.file;
    adopt(std::move(version.graph));
    info_.graph_hash = version.graph_hash;
    parts_->version = {version.from, version.set, version.graph_hash, {}};
    note_set(version.set);
  } else if (sets.empty()) {
    return;
  }
  if (!sets.empty()) {
    Document changed = document_;
    for (const std::string& set : sets) apply_override(changed, set, &registry_.catalogue());
    adopt(std::move(changed));
    info_.graph_hash = graph_hash(document_);
    if (options_.record) {
      keep_version(sets);
      change_later_versions(sets);
      note_set(sets);
    }
  }
  if (!options_.record) return;
  // What a resumed run goes by is there before the first iteration that it concerns.
  parts_->recorder->flush();
  write_graph(folder_, document_, *parts_->plan);
  write_run_info(folder_, info_);
}

/// The runtime refers to the plan: it goes first.
void Run::adopt(Document changed) {
  parts_->earlier_rows = node_rows();
  parts_->runtime.reset();
  {
    const std::lock_guard lock(command_mutex_);
    document_ = std::move(changed);
  }
  compile_plan();
  parts_->runtime = std::make_unique<PlanRuntime>(*parts_->plan, parts_->environment);
}

/// Writes down the graph that holds from here on; changes before the same iteration are one.
void Run::keep_version(std::vector<std::string> set) {
  GraphVersion& version = parts_->version;
  if (version.from != completed_) version.set.clear();
  version.from = completed_;
  version.set.insert(version.set.end(), set.begin(), set.end());
  version.graph_hash = info_.graph_hash;
  GraphVersion written = version;
  written.graph = resolved_graph(document_, *parts_->plan);
  write_graph_version(folder_, written);
}

/// A parameter that is set now stays so: the changes that the run has yet to repeat keep it.
void Run::change_later_versions(const std::vector<std::string>& sets) {
  for (GraphVersion& version : parts_->later) {
    for (const std::string& set : sets) {
      apply_override(version.graph, set, &registry_.catalogue());
    }
    version.graph_hash = graph_hash(version.graph);
    write_graph_version(folder_, version);
  }
}

void Run::note_set(const std::vector<std::string>& set) {
  if (set.empty() || !parts_->recorder) return;
  parts_->recorder->event(completed_, "set", "", {{"set", set}, {"graph_hash", info_.graph_hash}});
}

// ---- what a run says of itself ----

void Run::tell(std::int64_t iteration, Problem problem) {
  problem.iteration = iteration;
  if (parts_->recorder) parts_->recorder->alarm(iteration, problem);
  if (observer_) observer_->problem(problem);
}

void Run::tell_of_lost_history() {
  if (!parts_->history_lost) return;
  // Noted with the last iteration that is lost: resuming here once more must not delete it.
  const std::int64_t last = first_ - 1;
  parts_->recorder->event(last, "history-lost", "", {{"before", first_}});
  tell(
      last,
      {Severity::warning,
       "history-lost",
       {(folder_ / "run.db").string(), "", ""},
       fmt::format("holds nothing of this run: all that was recorded before iteration {} is lost",
                   first_),
       "the run goes on from its checkpoint; stop it and restore run.db from a copy if there is one",
       {}});
}

void Run::tell_of_unseen_conditions() {
  if (completed_ == first_) return;
  for (const Breakpoint& breakpoint : parts_->breakpoints.never_seen()) {
    tell(completed_ - 1,
         {Severity::warning,
          "breakpoint-unseen",
          {document_.file, breakpoint.node, ""},
          fmt::format("the breakpoint \"{}\" was never decided: no node gave a metric {}",
                      breakpoint.text(), breakpoint.when->metric),
          "rewardloom inspect lists the metrics of a run",
          {}});
  }
}

}  // namespace rewardloom
