// Engine cost per node firing against raw oneTBB on the same shape, and the other engine figures.
// Prints one line of JSON per figure.
#include <oneapi/tbb/flow_graph.h>
#include <oneapi/tbb/global_control.h>
#include <sys/resource.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "engine/core/random.h"
#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "engine/graph/checker.h"
#include "engine/graph/document.h"
#include "engine/graph/plan.h"
#include "engine/run/devices.h"
#include "engine/run/plan_runtime.h"
#include "engine/run/recorder.h"
#include "engine/run/run.h"
#include "engine/run/state_store.h"
#include "nodes/all_nodes.h"
#include "tests/bench/figures.h"

namespace rewardloom::bench {
namespace {

namespace fs = std::filesystem;
namespace flow = oneapi::tbb::flow;

/// Passes a constant on: what is left is the engine.
struct Empty final : Node {
  Inputs<Scalar> from{this, "from", "nodes before", 0};
  Output<Scalar> value{this, "value", "a constant"};
  Value constant = Value::of(Scalar{1});
  void run(Step& step) const override { step.outputs()[0] = constant; }
};

/// Busy for a number of small matrix products.
struct Busy final : Node {
  Inputs<Scalar> from{this, "from", "nodes before", 0};
  Output<Scalar> value{this, "value", "a number"};
  Param<std::int64_t> products{this, "products", 200, "how many"};
  void run(Step& step) const override {
    at::Tensor a = at::full({96, 96}, 0.01);
    for (std::int64_t i = 0; i < products(); ++i) a = a.matmul(a).clamp_(-1, 1);
    step[value] = Scalar{a.sum().item<double>()};
  }
};

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

/// Which nodes each node waits for.
using Shape = std::vector<std::vector<int>>;

Shape chain(int length) {
  Shape shape(static_cast<std::size_t>(length));
  for (int i = 1; i < length; ++i) shape[static_cast<std::size_t>(i)] = {i - 1};
  return shape;
}

Shape fan(int width) {
  Shape shape(static_cast<std::size_t>(width) + 2);
  for (int i = 1; i <= width; ++i) {
    shape[static_cast<std::size_t>(i)] = {0};
    shape.back().push_back(i);
  }
  return shape;
}

Shape layered(int count, int width) {
  Shape shape(static_cast<std::size_t>(count));
  Random random({1, 2, 3});
  for (int i = width; i < count; ++i) {
    const int layer = (i / width - 1) * width;
    const int a = layer + static_cast<int>(random.below(static_cast<std::uint64_t>(width)));
    const int b = layer + static_cast<int>(random.below(static_cast<std::uint64_t>(width)));
    shape[static_cast<std::size_t>(i)] = a == b ? std::vector<int>{a} : std::vector<int>{a, b};
  }
  return shape;
}

std::string graph_text(const Shape& shape, const std::string& type) {
  std::string text = R"({"rewardloom":1,"name":"bench","nodes":{)";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += fmt::format("{}\"n{}\":{{\"type\":\"{}\"", i ? "," : "", i, type);
    for (std::size_t k = 0; k < shape[i].size(); ++k) {
      text += fmt::format("{}\"n{}.value\"", k ? "," : ",\"inputs\":{\"from\":[", shape[i][k]);
    }
    text += shape[i].empty() ? "}" : "]}}";
  }
  return text + "}}";
}

Registry bench_registry() {
  Registry registry;
  registry.add<Empty>("bench.empty", "Empty", "");
  registry.add<Busy>("bench.busy", "Busy", "");
  registry.add<Bulk>("bench.bulk", "Bulk", "");
  return registry;
}

/// A runtime for a graph text, recording into a folder if asked to.
struct Engine {
  Engine(const Registry& registry, const std::string& text, bool record)
      : environment{registry, states, streams},
        plan(compile(Document::parse(text, "bench.json"), registry.catalogue())) {
    if (record) {
      RecorderOptions options;
      folder = fs::temp_directory_path() / fmt::format("rewardloom-bench-{}", ::getpid());
      fs::create_directories(folder);
      options.folder = folder;
      recorder = std::make_unique<Recorder>(options);
      environment.recorder = recorder.get();
    }
    runtime = std::make_unique<PlanRuntime>(plan, environment);
  }
  ~Engine() {
    runtime.reset();
    recorder.reset();
    if (!folder.empty()) fs::remove_all(folder);
  }
  void iterate() {
    runtime->run({}, iteration, iteration, 1);
    ++iteration;
  }
  StateStore states;
  DeviceStreams streams;
  Environment environment;
  Plan plan;
  fs::path folder;
  std::unique_ptr<Recorder> recorder;
  std::unique_ptr<PlanRuntime> runtime;
  std::int64_t iteration = 0;
};

double raw_seconds(const Shape& shape, int iterations) {
  flow::graph graph;
  using RawNode = flow::continue_node<flow::continue_msg>;
  std::vector<std::unique_ptr<RawNode>> nodes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    nodes.push_back(std::make_unique<RawNode>(graph, [](const flow::continue_msg&) {}));
    for (const int from : shape[i])
      flow::make_edge(*nodes[static_cast<std::size_t>(from)], *nodes[i]);
  }
  std::vector<RawNode*> first;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i].empty()) first.push_back(nodes[i].get());
  }
  const auto once = [&] {
    for (RawNode* node : first) node->try_put(flow::continue_msg());
    graph.wait_for_all();
  };
  once();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < iterations; ++i) once();
  return seconds_since(start) / iterations;
}

double engine_seconds(const Registry& registry, const Shape& shape, int iterations, bool record) {
  Engine engine(registry, graph_text(shape, "bench.empty"), record);
  engine.iterate();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < iterations; ++i) engine.iterate();
  if (engine.recorder) engine.recorder->flush();
  return seconds_since(start) / iterations;
}

void firing_cost(const Registry& registry) {
  const std::vector<std::tuple<std::string, Shape, int>> shapes = {
      {"chain of 1000", chain(1000), 200},
      {"fan 1-1000-1", fan(1000), 200},
      {"layered random 10000", layered(10000, 100), 20},
      {"chain of 10", chain(10), 5000},
      {"layered random 100000", layered(100000, 100), 3}};
  for (const auto& [name, shape, iterations] : shapes) {
    for (const bool record : {false, true}) {
      std::vector<double> raw, ours;
      for (int round = 0; round < 5; ++round) {
        raw.push_back(raw_seconds(shape, iterations));
        ours.push_back(engine_seconds(registry, shape, iterations, record));
      }
      const double nodes = static_cast<double>(shape.size());
      print_figure({{"figure", "engine cost per firing"},
                    {"shape", name},
                    {"recording", record},
                    {"raw_ns", median(raw) / nodes * 1e9},
                    {"ours_ns", median(ours) / nodes * 1e9},
                    {"above_raw_ns", (median(ours) - median(raw)) / nodes * 1e9},
                    {"ratio", median(ours) / median(raw)}});
    }
  }
}

void check_speed(const Registry& registry) {
  for (const int count : {100, 1000, 10000, 100000}) {
    const std::string text = graph_text(layered(count, 100), "bench.empty");
    std::vector<double> times;
    for (int round = 0; round < (count > 20000 ? 3 : 7); ++round) {
      const auto start = std::chrono::steady_clock::now();
      const Document document = Document::parse(text, "bench.json");
      const CheckResult result = check(document, registry.catalogue());
      times.push_back(seconds_since(start));
      if (!result.ok()) throw Failure("bench", "the benchmark's graph does not check");
    }
    print_figure({{"figure", "parse and check"}, {"nodes", count}, {"ms", median(times) * 1e3}});
  }
}

void branch_speed(const Registry& registry) {
  const auto text = [](const std::string& second) {
    return R"({"rewardloom":1,"name":"bench","nodes":{
      "a":{"type":"bench.busy","params":{"products":20000}},
      "b":{"type":"bench.busy","params":{"products":20000}%s},
      "s":{"type":"bench.empty","inputs":{"from":["a.value","b.value"]}}}})" +
           second;
  };
  std::string together = text("");
  std::string apart = text("");
  together.replace(together.find("%s"), 2, "");
  apart.replace(apart.find("%s"), 2, R"(,"inputs":{"from":["a.value"]})");
  std::vector<double> one, two;
  oneapi::tbb::task_arena arena(2);
  for (int round = 0; round < 7; ++round) {
    for (const auto& [graph, times] : {std::pair{&apart, &one}, std::pair{&together, &two}}) {
      Engine engine(registry, *graph, false);
      const auto start = std::chrono::steady_clock::now();
      arena.execute([&] { engine.iterate(); });
      times->push_back(seconds_since(start));
    }
  }
  print_figure({{"figure", "two independent branches on 2 threads"},
                {"one_after_the_other_ms", median(one) * 1e3},
                {"together_ms", median(two) * 1e3},
                {"speedup", median(one) / median(two)}});
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void chain_memory(const Registry& registry) {
  std::string text = R"({"rewardloom":1,"name":"bench","nodes":{"n0":{"type":"bench.bulk"})";
  for (int i = 1; i < 200; ++i) {
    text += fmt::format(R"(,"n{}":{{"type":"bench.bulk","inputs":{{"from":"n{}.latents"}}}})", i,
                        i - 1);
  }
  Engine engine(registry, text + "}}", false);
  const double base = peak_megabytes();
  engine.iterate();
  print_figure({{"figure", "peak memory of a 200-node chain of 10 MB values"},
                {"above_base_mb", peak_megabytes() - base}});
}

/// Step time of the quickstart with and without the recorder, alternating.
void recording_cost() {
  Registry registry;
  register_all_nodes(registry);
  const fs::path parent =
      fs::temp_directory_path() / fmt::format("rewardloom-bench-runs-{}", ::getpid());
  std::vector<double> off, on;
  for (int round = 0; round < 7; ++round) {
    for (const bool record : {false, true}) {
      RunOptions options;
      options.parent = parent;
      options.iterations = 12;
      options.record = record;
      Run run(Document::load("graphs/grpo-arithmetic.json"), registry, options);
      if (run.execute() != RunEnd::done) throw Failure(*run.failure());
      (record ? on : off).push_back(run.info().seconds / 12);
    }
  }
  fs::remove_all(parent);
  print_figure({{"figure", "recording the quickstart"},
                {"without_ms", median(off) * 1e3},
                {"with_ms", median(on) * 1e3},
                {"share", median(on) / median(off) - 1}});
}

}  // namespace

void bench_engine(const std::string& only) {
  prepare_process();
  const Registry registry = bench_registry();
  const auto wanted = [&](const char* name) { return only.empty() || only == name; };
  if (wanted("memory")) chain_memory(registry);
  if (wanted("firing")) firing_cost(registry);
  if (wanted("check")) check_speed(registry);
  if (wanted("branches")) branch_speed(registry);
  if (wanted("recording")) recording_cost();
}

}  // namespace rewardloom::bench
