// Small node types for executor tests, and a run of a graph text.
#pragma once
#include <ATen/ATen.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "engine/graph/checker.h"
#include "engine/graph/document.h"
#include "engine/graph/plan.h"
#include "engine/run/devices.h"
#include "engine/run/environment.h"
#include "engine/run/plan_runtime.h"
#include "engine/run/state_store.h"

namespace rewardloom::testing {

/// What the nodes of a test have seen, in order.
class Journal {
 public:
  void write(const std::string& line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(line);
  }
  std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  std::size_t position(const std::string& line) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i] == line) return i;
    }
    return lines_.size();
  }
  std::int64_t count(const std::string& line) const {
    const std::lock_guard lock(mutex_);
    return std::count(lines_.begin(), lines_.end(), line);
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// Where the nodes of the running test write, or null.
inline std::atomic<Journal*>& journal_place() {
  static std::atomic<Journal*> current{nullptr};
  return current;
}
inline Journal* journal() { return journal_place().load(); }

/// Makes a journal the current one while it lives.
struct Journaling : Journal {
  Journaling() { journal_place() = this; }
  ~Journaling() { journal_place() = nullptr; }
};

struct Constant final : Node {
  Output<Scalar> value{this, "value", "the number"};
  Param<double> number{this, "number", 1.0, "the number"};
  TraitsMember traits{this, {.pure = true}};
  void run(Step& step) const override {
    if (journal()) journal()->write(step.node());
    step[value] = Scalar{number()};
  }
};

struct Draw final : Node {
  Output<Scalar> value{this, "value", "a random number"};
  void run(Step& step) const override { step[value] = Scalar{step.random().uniform()}; }
};

struct Sum final : Node {
  Inputs<Scalar> values{this, "values", "what is added", 0};
  Output<Scalar> sum{this, "sum", "their sum"};
  Param<double> sleep{this, "sleep", 0.0, "seconds of work"};
  void run(Step& step) const override {
    if (journal()) journal()->write(step.node());
    if (sleep() > 0) std::this_thread::sleep_for(std::chrono::duration<double>(sleep()));
    double total = 0;
    const auto list = step[values];
    for (std::size_t i = 0; i < list.size(); ++i) total += list[i].value;
    step[sum] = Scalar{total};
  }
};

/// Waits until `company` nodes of its kind are running at the same time.
struct Meet final : Node {
  Output<Scalar> value{this, "value", "1 if they met"};
  Param<std::int64_t> company{this, "company", 2, "how many must be there"};
  static std::atomic<std::int64_t>& present() {
    static std::atomic<std::int64_t> count{0};
    return count;
  }
  void run(Step& step) const override {
    ++present();
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (present() < company() && std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    step[value] = Scalar{present() >= company() ? 1.0 : 0.0};
  }
};

/// State behind a handle: a counter.
struct Counter final : HandleState {
  double value = 0;
  static std::string kind_name() { return "counter"; }
  std::string kind() const override { return kind_name(); }
  void save(Package& out) const override { out.meta["value"] = value; }
  void load(const Package& in) override { value = in.meta.at("value").get<double>(); }
};

struct MakeCounter final : Node {
  State<Counter> state{this, "counter"};
  Output<Policy> handle{this, "handle", "the counter"};
  void run(Step& step) const override {
    step[handle] = Policy{{step.shared(state, [] { return std::make_shared<Counter>(); })}};
  }
};

struct ReadCounter final : Node {
  Reads<Policy> handle{this, "handle", "the counter"};
  Optional<Scalar> after{this, "after", "only for the order"};
  Output<Scalar> value{this, "value", "what it was"};
  void run(Step& step) const override {
    if (journal()) journal()->write(step.node());
    const double now = step.read<Counter>(handle).value;
    step.metric("value", now);
    step[value] = Scalar{now};
  }
};

struct AddToCounter final : Node {
  Writes<Policy> handle{this, "handle", "the counter"};
  Optional<Scalar> amount{this, "amount", "what is added"};
  Output<Scalar> value{this, "value", "what it is now"};
  TraitsMember traits{this, {.effect = true}};
  void run(Step& step) const override {
    if (journal()) journal()->write(step.node());
    Counter& counter = step.write<Counter>(handle);
    counter.value += step[amount] ? step[amount]->value : 1;
    counter.set_weight_version(counter.weight_version() + 1);
    step.metric("value", counter.value);
    step[value] = Scalar{counter.value};
  }
};

/// Rewards 0..rows-1, row `bad` NaN in iteration `at`.
struct MakeRewards final : Node {
  Output<Rewards> rewards{this, "rewards", "one per row"};
  Param<std::int64_t> rows{this, "rows", 4, "how many"};
  Param<std::int64_t> bad{this, "bad", -1, "the row that is not a number"};
  Param<std::int64_t> at{this, "at", 0, "in which iteration"};
  void run(Step& step) const override {
    Rewards r;
    r.total = at::arange(rows(), at::kFloat) + static_cast<double>(step.iteration());
    if (bad() >= 0 && step.iteration() == at()) r.total[bad()] = std::nan("");
    step[rewards] = std::move(r);
  }
};

/// Fails in its first `failures` firings; or fails rows.
struct Fragile final : Node {
  Output<Scalar> value{this, "value", "1"};
  Param<std::int64_t> failures{this, "failures", 0, "firings that fail"};
  Param<std::int64_t> bad_rows{this, "bad_rows", 0, "rows that fail"};
  mutable std::atomic<int> fired{0};
  void run(Step& step) const override {
    if (fired++ < failures()) step.fail("broken on purpose");
    for (std::int64_t i = 0; i < bad_rows(); ++i) step.fail_row(i, "no answer");
    step[value] = Scalar{1};
  }
};

/// 10 MB that pass through.
struct Bulk final : Node {
  Optional<Latents> from{this, "from", "what went before"};
  Output<Latents> latents{this, "latents", "10 MB"};
  void run(Step& step) const override {
    Latents out;
    const Latents* before = step[from];
    out.latents = before ? before->latents + 1 : at::ones({10, 262144}, at::kFloat);
    step[latents] = std::move(out);
  }
};

/// Runs its body `times` times in a firing.
struct Again final : Node {
  Param<std::string> body{this, "body", required, "the subgraph"};
  Param<std::int64_t> times{this, "times", 2, "how often"};
  Body bodies{this, "body"};
  TraitsMember traits{this, {.effect = true}};
  void run(Step& step) const override {
    for (std::int64_t i = 0; i < times(); ++i) {
      const NamedValues values = step.run(bodies, {.index = i, .of = times()});
      for (std::size_t k = 0; k < values.size(); ++k) step.outputs()[k] = values[k].second;
    }
  }
};

inline Registry test_registry() {
  Registry r;
  r.add<Constant>("test.constant", "A constant", "");
  r.add<Draw>("test.draw", "A random number", "");
  r.add<Sum>("test.sum", "A sum", "");
  r.add<Meet>("test.meet", "A meeting", "");
  r.add<MakeCounter>("test.counter", "A counter", "");
  r.add<ReadCounter>("test.read", "Reads a counter", "");
  r.add<AddToCounter>("test.add", "Adds to a counter", "");
  r.add<MakeRewards>("test.rewards", "Rewards", "");
  r.add<Fragile>("test.fragile", "Fails", "");
  r.add<Bulk>("test.bulk", "Much data", "");
  r.add<Again>("test.again", "A loop", "");
  return r;
}

/// Remembers metrics and problems of a run.
class Ear final : public RunListener {
 public:
  void metric(std::int64_t iteration, const std::string& name, double value) override {
    const std::lock_guard lock(mutex);
    metrics[{iteration, name}] = value;
  }
  void problem(const Problem& problem) override {
    const std::lock_guard lock(mutex);
    problems.push_back(problem);
  }
  std::vector<Problem> heard() {
    const std::lock_guard lock(mutex);
    return problems;
  }
  std::mutex mutex;
  std::map<std::pair<std::int64_t, std::string>, double> metrics;
  std::vector<Problem> problems;
};

/// A graph text, compiled, with everything that a runtime needs.
struct Bench {
  explicit Bench(const std::string& text, WatchdogOptions watch = {},
                 Registry nodes = test_registry())
      : registry(std::move(nodes)), environment{registry, states, streams} {
    const Document document = Document::parse(text, "test.json");
    plan = compile(document, registry.catalogue());
    environment.listener = &ear;
    environment.file = "test.json";
    if (!watch.report) watch.report = [this](const Problem& p) { ear.problem(p); };
    watchdog = std::make_unique<Watchdog>(std::move(watch));
    environment.watchdog = watchdog.get();
    runtime = std::make_unique<PlanRuntime>(plan, environment);
  }
  void iterate(std::int64_t count = 1) {
    for (std::int64_t i = 0; i < count; ++i, ++iteration) runtime->run({}, iteration, iteration, 7);
  }
  Registry registry;
  StateStore states;
  DeviceStreams streams;
  Environment environment;
  Ear ear;
  Plan plan;
  std::unique_ptr<Watchdog> watchdog;
  std::unique_ptr<PlanRuntime> runtime;
  std::int64_t iteration = 0;
};

}  // namespace rewardloom::testing
