#include "engine/run/plan_runtime.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <fmt/format.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/core/estimate.h"
#include "engine/core/real_numbers.h"
#include "engine/core/registry.h"
#include "engine/run/breakpoints.h"
#include "engine/run/devices.h"
#include "engine/run/handover.h"
#include "engine/run/out_of_memory.h"
#include "engine/run/probe_rows.h"
#include "engine/run/reward_watch.h"
#include "engine/run/state_store.h"
#include "engine/run/torch_version.h"

namespace rewardloom {

/// A node of a running plan, and what the run offers to it.
class PlanRuntime::NodeRuntime final : public StepContext {
 public:
  NodeRuntime(PlanRuntime& owner, int index, const PlanNode& plan_node)
      : owner_(owner), index(index), plan(plan_node) {
    const RuntimeScope& scope = owner.scope_;
    settings.node = scope.display_prefix + plan_node.name.substr(scope.plan_prefix.size());
    settings.file = owner.environment_.file;
    settings.run_dir = owner.environment_.run_dir;
    settings.device = owner.environment_.device;
    const Json& placement = plan_node.placement;
    if (placement.contains("device")) settings.device = placed_on(placement["device"]);
    settings.micro_batch = micro_batch_of_placement(placement);
    settings.bodies = plan_node.bodies.size();
    for (const PlanOutput& output : plan_node.outputs) settings.output_names.push_back(output.name);
    shown_name = std::make_shared<const std::string>(settings.node);
    stream_id = hash_name(plan_node.name);
    make_node();
    stream = owner.environment_.streams.stream_for(settings.device);
  }

  void metric(std::string_view name, double value) override {
    const std::string full = fmt::format(
        "{}/{}", settings.node, within_branches(std::string(name), owner_.scope_.branches));
    Environment& environment = owner_.environment_;
    if (environment.recorder) environment.recorder->metric(owner_.recorded_, full, value);
    if (environment.listener) environment.listener->metric(owner_.recorded_, full, value);
    if (environment.breakpoints) environment.breakpoints->metric(full, value);
    if (environment.reward_watch) environment.reward_watch->metric(owner_.recorded_, full, value);
  }
  void alarm(std::string_view code, std::string_view text) override {
    report({Severity::warning,
            std::string(code),
            {settings.file, settings.node, ""},
            std::string(text),
            "",
            owner_.recorded_});
  }
  bool cancelled() const override {
    return owner_.environment_.cancelled || watched->expired || owner_.failed_;
  }
  StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) override {
    return owner_.environment_.states.get(fmt::format("{}/{}", settings.node, name), make);
  }
  /// One call of a parallel loop.
  struct Part {
    bool gradients;
    const std::function<void(std::size_t)>& function;
    Handover begun, ended;
    void run(std::size_t i) const {
      begun.take();
      const c10::AutoGradMode mode(gradients);
      function(i);
      ended.give();
    }
  };
  void parallel(std::size_t count, const std::function<void(std::size_t)>& function) override {
    const bool gradients = c10::GradMode::is_enabled();
    const Part part{gradients, function, {}, {}};
    if (count == 1) return part.run(0);
    part.begun.give();
    const auto one = [&part](std::size_t i) REWARDLOOM_TASK_SHELL { part.run(i); };
    // Isolated: a thread that waits here must not start another node inside this one.
    oneapi::tbb::this_task_arena::isolate([&] {
      oneapi::tbb::parallel_for(std::size_t{0}, count, one, oneapi::tbb::simple_partitioner());
    });
    part.ended.take();
    write_over_left_stack();
  }
  NamedValues run_body(std::size_t body, const BodyCall& call) override {
    return owner_.run_body(*this, body, call);
  }
  void fail_row(std::int64_t row, std::string_view reason) override {
    if (plan.on_error.action != FailureAction::skip_row) {
      throw Failure({Severity::error,
                     "row-failed",
                     {settings.file, settings.node, ""},
                     fmt::format("row {}: {}", row, reason),
                     "set the node's on_error to skip_row to go on without such rows",
                     owner_.recorded_});
    }
    failed_rows.fetch_add(1);
  }

  void report(const Problem& problem) const {
    Environment& environment = owner_.environment_;
    if (environment.recorder) environment.recorder->alarm(owner_.recorded_, problem);
    if (environment.listener) environment.listener->problem(problem);
  }

  PlanRuntime& owner_;
  const int index;
  const PlanNode& plan;
  StepSettings settings;
  std::shared_ptr<const Node> node;
  std::vector<std::vector<const Value*>> inputs;
  std::vector<Value> outputs;
  std::vector<int> predecessors;
  std::shared_ptr<const std::string> shown_name;
  std::uint64_t stream_id = 0;
  std::optional<c10::Stream> stream;
  std::shared_ptr<Ready> ready;  ///< set while work of this iteration may still be on a device
  WatchedNode* watched = nullptr;
  bool cached = false;
  double ready_at = 0;
  double start = 0;
  double end = 0;
  std::int64_t thread = 0;
  bool fired = false;
  NodeRow row;
  std::atomic<std::int64_t> failed_rows{0};

 private:
  c10::Device placed_on(const std::string& device) const {
    try {
      return parse_device(device);
    } catch (const Failure& failure) {
      Problem problem = failure.problem();
      problem.where = {settings.file, settings.node, ""};
      problem.help = fmt::format("change the device of {} in the graph's placement", settings.node);
      throw Failure(std::move(problem));
    }
  }

  void make_node() {
    try {
      node = owner_.environment_.registry.make(plan.type, plan.given);
      if (const auto* set_up = dynamic_cast<const Prepares*>(node.get())) set_up->prepare(settings);
    } catch (const Failure& failure) {
      throw failure.at({settings.file, settings.node, ""});
    } catch (const std::exception& error) {
      const auto memory = out_of_memory(error);
      if (memory) throw memory->at({settings.file, settings.node, ""});
      throw;
    }
  }
};

PlanRuntime::PlanRuntime(const Plan& plan, Environment& environment, RuntimeScope scope)
    : plan_(plan), environment_(environment), scope_(std::move(scope)) {
  slots_.resize(plan.slots.size());
  kept_.assign(plan.slots.size(), 0);
  pending_ = std::make_unique<std::atomic<int>[]>(plan.nodes.size());
  readers_ = std::make_unique<std::atomic<int>[]>(plan.slots.size());
  urgency_.assign(plan.nodes.size(), 0.0);
  for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
    const PlanNode& plan_node = plan.nodes[i];
    auto node = std::make_unique<NodeRuntime>(*this, static_cast<int>(i), plan_node);
    for (const PlanInput& input : plan_node.inputs) {
      auto& edges = node->inputs.emplace_back();
      for (const int slot : input.slots) edges.push_back(&slots_[static_cast<std::size_t>(slot)]);
    }
    node->outputs.resize(plan_node.outputs.size());
    nodes_.push_back(std::move(node));
  }
  for (const auto& node : nodes_) {
    for (const int next : node->plan.successors) {
      nodes_[static_cast<std::size_t>(next)]->predecessors.push_back(node->index);
    }
  }
  for (const auto& node : nodes_) {
    auto watched = std::make_unique<WatchedNode>();
    watched->name = node->settings.node;
    watched->deadline = node->plan.deadline;
    watched->container = !node->plan.bodies.empty();
    for (const int next : node->plan.successors) {
      if (watched->waiting.size() == 8) break;
      watched->waiting.push_back(nodes_[static_cast<std::size_t>(next)]->settings.node);
    }
    node->watched = watched.get();
    node->row.node = node->settings.node;
    node->row.type = node->plan.type;
    if (environment_.watchdog) environment_.watchdog->watch(watched.get());
    watched_.push_back(std::move(watched));
  }
}

PlanRuntime::~PlanRuntime() {
  if (!environment_.watchdog) return;
  for (const auto& watched : watched_) environment_.watchdog->forget(watched.get());
}

void PlanRuntime::prepare(const std::vector<Value>& inputs) {
  failed_ = false;
  failure_.reset();
  ready_.clear();
  // Often while little is known, then ever more rarely: it walks over the whole plan.
  if (const std::int64_t runs = runs_++; (runs & (runs - 1)) == 0) rank_nodes();
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    readers_[i].store(plan_.slots[i].readers, std::memory_order_relaxed);
    if (!kept_[i]) slots_[i] = Value();
  }
  for (std::size_t i = 0; i < plan_.inputs.size(); ++i) {
    slots_[static_cast<std::size_t>(plan_.inputs[i])] = inputs.at(i);
  }
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    pending_[i].store(plan_.nodes[i].pending, std::memory_order_relaxed);
    nodes_[i]->fired = false;
    nodes_[i]->ready.reset();
  }
}

std::vector<Value> PlanRuntime::run(const std::vector<Value>& inputs, std::int64_t iteration,
                                    std::int64_t recorded, std::uint64_t seed) {
  iteration_ = iteration;
  recorded_ = recorded;
  seed_ = seed;
  prepare(inputs);
  const double start = environment_.recorder ? environment_.recorder->now() : 0;
  for (const int node : plan_.order) {
    if (plan_.nodes[static_cast<std::size_t>(node)].pending != 0) continue;
    nodes_[static_cast<std::size_t>(node)]->ready_at = start;
    spawn(node);
  }
  wait_for_spawned();
  poll_devices();
  finish(recorded);
  if (failure_) throw Failure(*failure_);
  std::vector<Value> outputs;
  for (const int slot : plan_.outputs) outputs.push_back(slots_[static_cast<std::size_t>(slot)]);
  return outputs;
}

void PlanRuntime::rank_nodes() {
  double longest = 0;
  for (auto it = plan_.order.rbegin(); it != plan_.order.rend(); ++it) {
    const NodeRuntime& node = *nodes_[static_cast<std::size_t>(*it)];
    double behind = 0;
    for (const int next : node.plan.successors) {
      behind = std::max(behind, urgency_[static_cast<std::size_t>(next)]);
    }
    const auto firings = static_cast<double>(std::max<std::int64_t>(1, node.row.firings));
    const double own = node.row.seconds / firings;
    longest = std::max(longest, own);
    urgency_[static_cast<std::size_t>(*it)] = behind + own;
  }
  // Below this the order saves less than keeping it costs.
  constexpr double kWorthOrdering = 5e-5;
  ordered_ = longest > kWorthOrdering;
}

/// Orders the heap of ready nodes; of equal ones the first in the file comes first.
class PlanRuntime::LessUrgent {
 public:
  explicit LessUrgent(const std::vector<double>& urgency) : urgency_(urgency) {}
  bool operator()(int a, int b) const {
    const double left = urgency_[static_cast<std::size_t>(a)];
    const double right = urgency_[static_cast<std::size_t>(b)];
    return left != right ? left < right : a > b;
  }

 private:
  const std::vector<double>& urgency_;
};

void PlanRuntime::spawn(int node) {
  spawned_.give();
  if (!ordered_) return group_.run([this, node]() REWARDLOOM_TASK_SHELL { run_spawned(node); });
  {
    const std::lock_guard lock(ready_mutex_);
    ready_.push_back(node);
    std::push_heap(ready_.begin(), ready_.end(), LessUrgent(urgency_));
  }
  group_.run([this]() REWARDLOOM_TASK_SHELL {
    spawned_.take();
    run_spawned(take_ready());
  });
}

int PlanRuntime::take_ready() {
  const std::lock_guard lock(ready_mutex_);
  std::pop_heap(ready_.begin(), ready_.end(), LessUrgent(urgency_));
  const int node = ready_.back();
  ready_.pop_back();
  return node;
}

void PlanRuntime::run_spawned(int node) {
  spawned_.take();
  fire_chain(node);
  fired_.give();
}

int PlanRuntime::release_successors(NodeRuntime& node) {
  int first = -1;
  for (int next : node.plan.successors) {
    const auto n = static_cast<std::size_t>(next);
    if (pending_[n].fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
    nodes_[n]->ready_at = node.end;
    if (first >= 0 && LessUrgent(urgency_)(first, next)) std::swap(first, next);
    if (first < 0) {
      first = next;
    } else {
      spawn(next);
    }
  }
  return first;
}

void PlanRuntime::wait_for_spawned() {
  group_.wait();
  fired_.take();
}

void PlanRuntime::fire_chain(int index) {
  while (index >= 0 && !failed_) {
    NodeRuntime& node = *nodes_[static_cast<std::size_t>(index)];
    if (!ready_on_host(node)) return wait_for_device(index);
    fire(node);
    if (failed_) return;
    index = release_successors(node);
  }
}

bool PlanRuntime::skip_dead(NodeRuntime& node) {
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.plan.inputs[i].optional && !node.plan.inputs[i].variadic) continue;
    for (const Value* value : node.inputs[i]) {
      if (!*value) return true;
    }
  }
  return false;
}

namespace {

/// What a node threw, as a failure of ours.
Failure failure_of(const std::exception& error) {
  if (const auto* const own = dynamic_cast<const Failure*>(&error)) return *own;
  if (auto memory = out_of_memory(error)) return *memory;
  if (const auto* const tensors = dynamic_cast<const c10::Error*>(&error)) {
    return Failure("tensor-error", message_of(*tensors),
                   "the shapes or types of its inputs do not fit each other");
  }
  return Failure("node-failed", error.what());
}

}  // namespace

void PlanRuntime::fire(NodeRuntime& node) {
  node.end = node.ready_at;
  if (node.cached || skip_dead(node)) {
    release_inputs(node);
    return;
  }
  if (environment_.breakpoints) {
    environment_.breakpoints->before_node(node.settings.node, recorded_);
  }
  try {
    attempt(node);
  } catch (const std::exception& error) {
    note_failure(node, failure_of(error));
  }
  release_inputs(node);
}

namespace {

/// Whether a failed firing may be tried again or left out.
bool may_retry(const ErrorPolicy& policy, int attempt) {
  return policy.action == FailureAction::retry && attempt < policy.attempts;
}

}  // namespace

void PlanRuntime::attempt(NodeRuntime& node) {
  for (int attempt = 1;; ++attempt) {
    try {
      return run_on_device(node);
    } catch (const std::exception& error) {
      ++node.row.failures;
      const ErrorPolicy& policy = node.plan.on_error;
      if (policy.action == FailureAction::skip) {
        node.alarm("node-skipped", fmt::format("left out in this iteration: {}", error.what()));
        for (Value& output : node.outputs) output = Value();
        return;
      }
      if (!may_retry(policy, attempt)) throw;
      node.alarm("node-retried", fmt::format("attempt {} of {} failed: {}", attempt,
                                             policy.attempts, error.what()));
      std::this_thread::sleep_for(std::chrono::milliseconds(10 << std::min(attempt, 7)));
    }
  }
}

void PlanRuntime::run_on_device(NodeRuntime& node) {
  if (!node.stream) return run_node(node);
  const c10::StreamGuard guard(*node.stream);
  for (const int before : node.predecessors) {
    const auto& ready = nodes_[static_cast<std::size_t>(before)]->ready;
    if (ready) ready->block(*node.stream);
  }
  run_node(node);
  node.ready = record_ready(*node.stream);
}

std::int64_t PlanRuntime::held_nanoseconds(const NodeRuntime& node) const {
  const bool asks = node.watched->container && environment_.breakpoints != nullptr;
  return asks ? environment_.breakpoints->held_nanoseconds() : 0;
}

void PlanRuntime::run_node(NodeRuntime& node) {
  const at::NoGradGuard no_gradients;
  const RandomKey key{seed_, node.stream_id, static_cast<std::uint64_t>(iteration_)};
  Step step(node.settings, node, node.inputs, node.outputs, key, iteration_);
  const std::int64_t held = held_nanoseconds(node);
  const std::int64_t begin = steady_nanoseconds();
  node.watched->held.store(held, std::memory_order_relaxed);
  node.watched->expired.store(false, std::memory_order_relaxed);
  node.watched->started.store(begin, std::memory_order_release);
  struct Running {
    WatchedNode& watched;
    ~Running() { watched.started.store(0, std::memory_order_release); }
  };
  {
    const Running running{*node.watched};
    node.node->run(step);
    for (Value& value : node.outputs) make_real(value, at::kFloat);
  }
  const std::int64_t taken = steady_nanoseconds() - begin;
  const double own_seconds = static_cast<double>(taken - (held_nanoseconds(node) - held)) * 1e-9;
  if (node.plan.deadline > 0 && own_seconds > node.plan.deadline) {
    throw Failure(
        "node-deadline",
        fmt::format("ran for {:.2f} s, its deadline is {:g} s", own_seconds, node.plan.deadline),
        "raise its deadline, or make it do less");
  }
  deliver(node, static_cast<double>(taken) * 1e-9, own_seconds);
}

void PlanRuntime::deliver(NodeRuntime& node, double seconds, double own_seconds) {
  Recorder* const recorder = environment_.recorder;
  node.fired = true;
  ++node.row.firings;
  node.row.seconds += own_seconds;
  if (recorder) {
    node.end = recorder->now();
    node.start = node.end - seconds;
    node.thread = oneapi::tbb::this_task_arena::current_thread_index();
    node.row.waiting_seconds += std::max(0.0, node.start - node.ready_at);
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    Value& value = node.outputs[i];
    const auto slot = static_cast<std::size_t>(node.plan.outputs[i].slot);
    if (!value && plan_.slots[slot].readers > 0 && node.plan.bodies.empty()) {
      throw Failure({Severity::error,
                     "output-missing",
                     {"", "", node.plan.outputs[i].name},
                     "the node gave nothing there, but other nodes read it",
                     "report this: the node must set the output or fail",
                     {}});
    }
    if (value) observe(node, i, value);
    // Walking a value costs a microsecond: only where the node took long enough to hide it.
    if (seconds > 5e-5) node.row.bytes += static_cast<std::int64_t>(size_in_bytes(value));
  }
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    const auto slot = static_cast<std::size_t>(node.plan.outputs[i].slot);
    slots_[slot] = std::move(node.outputs[i]);
    node.outputs[i] = Value();
    if (node.plan.invariant) kept_[slot] = 1;
  }
  node.cached = node.plan.invariant;
  drop_unread(node);
}

/// Of the policy that wrote a node's completions, where it is one that has texts.
TokenText PlanRuntime::token_text_of(const NodeRuntime& node) {
  for (const auto& edges : node.inputs) {
    for (const Value* value : edges) {
      if (!*value || value->type() != &PortTraits<Policy>::type()) continue;
      const auto* const model = dynamic_cast<const TellsTokens*>(value->get<Policy>().state.get());
      if (model != nullptr) return model->token_text();
    }
  }
  return {};
}

void PlanRuntime::observe(NodeRuntime& node, std::size_t output, const Value& value) {
  Recorder* const recorder = environment_.recorder;
  const PlanSlot& slot = plan_.slots[static_cast<std::size_t>(node.plan.outputs[output].slot)];
  if (slot.probe) {
    if (const std::string bad = first_nonfinite(value); !bad.empty()) {
      throw Failure(
          {Severity::error,
           "not-finite",
           {"", "", node.plan.outputs[output].name},
           fmt::format("{} is not a finite number", bad),
           "a row that cannot be scored must be absent; look at what this node divides by "
           "or takes the logarithm of",
           {}});
    }
    if (recorder) {
      recorder->probe(recorded_, node.settings.node, node.plan.outputs[output].name, value,
                      scope_.branches);
    }
  } else if (recorder && value.type() == &PortTraits<Completions>::type()) {
    recorder->completions(value, token_text_of(node), scope_.branches);
  }
}

void PlanRuntime::release_inputs(NodeRuntime& node) {
  for (const int slot : node.plan.reads) {
    const auto s = static_cast<std::size_t>(slot);
    if (readers_[s].fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
    if (!plan_.slots[s].output && !kept_[s]) slots_[s] = Value();
  }
}

void PlanRuntime::drop_unread(NodeRuntime& node) {
  for (const PlanOutput& output : node.plan.outputs) {
    const auto s = static_cast<std::size_t>(output.slot);
    if (plan_.slots[s].readers == 0 && !plan_.slots[s].output && !kept_[s]) slots_[s] = Value();
  }
}

bool PlanRuntime::ready_on_host(const NodeRuntime& node) const {
  if (node.stream) return true;
  for (const int before : node.predecessors) {
    const auto& ready = nodes_[static_cast<std::size_t>(before)]->ready;
    if (ready && !ready->done()) return false;
  }
  return true;
}

void PlanRuntime::wait_for_device(int node) {
  const std::lock_guard lock(parked_mutex_);
  parked_.push_back(node);
}

/// Nodes that wait for a device are looked at from the thread that runs the iteration, so that no
/// worker is blocked by them.
void PlanRuntime::poll_devices() {
  for (;;) {
    std::vector<int> waiting;
    {
      const std::lock_guard lock(parked_mutex_);
      waiting.swap(parked_);
    }
    if (waiting.empty() || failed_) return;
    bool any = false;
    for (const int node : waiting) {
      if (ready_on_host(*nodes_[static_cast<std::size_t>(node)])) {
        any = true;
        spawn(node);
      } else {
        wait_for_device(node);
      }
    }
    if (any) {
      wait_for_spawned();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
}

void PlanRuntime::note_failure(NodeRuntime& node, const Failure& failure) {
  Problem problem = failure.at({environment_.file, node.settings.node, ""}).problem();
  if (!problem.iteration) problem.iteration = recorded_;
  const std::lock_guard lock(failure_mutex_);
  if (!failure_) failure_ = std::make_unique<Failure>(std::move(problem));
  failed_ = true;
}

void PlanRuntime::finish(std::int64_t recorded) {
  Recorder* const recorder = environment_.recorder;
  std::vector<Span> spans;
  for (const auto& node : nodes_) {
    if (const std::int64_t rows = node->failed_rows.exchange(0); rows > 0) {
      node->metric("failed_rows", static_cast<double>(rows));
    }
    if (!node->fired) continue;
    node->row.iteration = recorded;
    if (recorder) spans.push_back({node->shown_name, node->thread, node->start, node->end});
  }
  if (recorder && !spans.empty()) recorder->spans(recorded, std::move(spans));
}

void PlanRuntime::add_node_rows(std::vector<NodeRow>& rows, std::int64_t iteration) const {
  for (const auto& node : nodes_) {
    rows.push_back(node->row);
    rows.back().iteration = iteration;
  }
  for (const auto& [key, body] : bodies_) body->add_node_rows(rows, iteration);
}

PlanRuntime& PlanRuntime::body_runtime(NodeRuntime& node, const PlanBody& body,
                                       const std::string& branch) {
  const std::string key =
      fmt::format("{}\n{}\n{}\n{}", node.index, body.declaration, body.part, branch);
  const std::lock_guard lock(bodies_mutex_);
  auto& runtime = bodies_[key];
  if (!runtime) {
    std::string shown = node.settings.node;
    Branches branches = scope_.branches;
    if (!branch.empty()) {
      shown += "[" + branch + "]";
      std::vector<std::string> around = branches ? *branches : std::vector<std::string>{};
      around.push_back(shown);
      branches = std::make_shared<const std::vector<std::string>>(std::move(around));
    }
    runtime = std::make_unique<PlanRuntime>(
        *body.plan, environment_,
        RuntimeScope{node.plan.name, std::move(shown), std::move(branches)});
  }
  return *runtime;
}

NamedValues PlanRuntime::run_body(NodeRuntime& node, std::size_t declaration,
                                  const BodyCall& call) {
  for (const PlanBody& body : node.plan.bodies) {
    if (body.declaration != static_cast<int>(declaration) ||
        body.part != static_cast<int>(call.part)) {
      continue;
    }
    std::vector<Value> inputs;
    for (const int port : body.input_ports) {
      const auto& edges = node.inputs[static_cast<std::size_t>(port)];
      inputs.push_back(edges.empty() ? Value() : *edges[0]);
    }
    PlanRuntime& runtime = body_runtime(node, body, call.branch);
    std::vector<Value> outputs;
    oneapi::tbb::this_task_arena::isolate([&] {
      outputs = runtime.run(inputs, iteration_ * call.of + call.index, recorded_,
                            seed_ + call.seed_offset);
    });
    NamedValues named;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      named.emplace_back(body.plan->output_names[i], outputs[i]);
    }
    return named;
  }
  throw Failure("no-body",
                fmt::format("there is no body {} of parameter {}", call.part, declaration),
                "report this: the container asked for a body that the graph does not have");
}

}  // namespace rewardloom
