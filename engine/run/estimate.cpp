#include "engine/run/estimate.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>

namespace rewardloom {
namespace {

/// What a source of rows is offered while it fires once.
class SourceContext final : public StepContext {
 public:
  explicit SourceContext(std::string node) : node_(std::move(node)) {}
  void metric(std::string_view, double) override {}
  void alarm(std::string_view, std::string_view) override {}
  bool cancelled() const override { return false; }
  StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) override {
    StateHolder& holder = states_[std::string(name)];
    if (!holder.object) holder = make();
    return holder;
  }
  void parallel(std::size_t count, const std::function<void(std::size_t)>& function) override {
    for (std::size_t i = 0; i < count; ++i) function(i);
  }
  NamedValues run_body(std::size_t, const BodyCall&) override {
    throw Failure("no-body", "a source has no bodies");
  }
  void fail_row(std::int64_t row, std::string_view reason) override {
    throw Failure("row-failed", fmt::format("{}: row {}: {}", node_, row, reason));
  }

 private:
  std::string node_;
  std::map<std::string, StateHolder> states_;
};

bool holds_rows(const std::string& port_type) {
  return port_type == "Prompts" || port_type == "Preferences";
}

std::int64_t rows_of(const Value& value) {
  if (value.type() == &PortTraits<Prompts>::type()) {
    const Prompts& prompts = value.get<Prompts>();
    return prompts.tokens.defined() ? prompts.tokens.size(0)
                                    : static_cast<std::int64_t>(prompts.text.size());
  }
  return static_cast<std::int64_t>(value.get<Preferences>().chosen.size());
}

/// What the smallest run takes beside the resident program: the recorder, its database, and the
/// first use of LibTorch's code.
constexpr double run_machinery = 20e6;

/// Bytes behind a key of a file of /proc, e.g. VmRSS or MemAvailable; 0 where it is not there.
double proc_bytes(const char* file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key + ":")) return 1024 * std::strtod(line.c_str() + key.size() + 1, {});
  }
  return 0;
}

class GraphEstimator {
 public:
  GraphEstimator(const Registry& registry, const EstimateOptions& options)
      : registry_(registry), options_(options) {
    // Of the first time: estimates leave memory behind in the allocator.
    static const double resident = proc_bytes("/proc/self/status", "VmRSS");
    out.program = resident + run_machinery;
    out.available = resident + proc_bytes("/proc/meminfo", "MemAvailable");
  }

  /// Extents of the plan's outputs, given those of its inputs.
  std::vector<Extent> run(const Plan& plan, const std::vector<Extent>& inputs, double firings) {
    std::vector<Extent> slots(plan.slots.size());
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
      slots[static_cast<std::size_t>(plan.inputs[i])] = inputs.at(i);
    }
    std::vector<double> transient(plan.nodes.size(), 0.0);
    for (const int index : plan.order) {
      transient[static_cast<std::size_t>(index)] =
          node(plan, plan.nodes[static_cast<std::size_t>(index)], slots, firings);
    }
    largest_ = 0;
    for (const std::vector<int>& level : plan.levels) {
      std::vector<double> there;
      for (const int index : level) there.push_back(transient[static_cast<std::size_t>(index)]);
      largest_ = std::max(largest_, side_by_side(std::move(there)));
    }
    std::vector<Extent> outputs;
    for (const int slot : plan.outputs) outputs.push_back(slots[static_cast<std::size_t>(slot)]);
    return outputs;
  }

  GraphEstimate finish() {
    out.transient = largest_;
    for (const NodeEstimate& node : out.nodes) {
      out.checkpoint += node.cost.checkpoint();
      if (node.device == "cpu") out.kept += node.cost.kept();
      out.flop += node.flop * node.firings;
      if (!std::isnan(node.seconds)) out.seconds += node.seconds * node.firings;
    }
    return std::move(out);
  }

 private:
  /// The most that can be held at once by as many of these as there are threads.
  double side_by_side(std::vector<double> bytes) const {
    std::sort(bytes.rbegin(), bytes.rend());
    double total = 0;
    for (std::size_t i = 0; i < bytes.size() && i < static_cast<std::size_t>(options_.threads);
         ++i) {
      total += bytes[i];
    }
    return total;
  }

  StepSettings settings_of(const Plan& plan, const PlanNode& node) const {
    StepSettings settings;
    settings.node = node.name;
    settings.file = plan.file;
    // Also one that is not in this machine.
    settings.device = c10::Device(node.placement.value("device", options_.device));
    settings.micro_batch = micro_batch_of_placement(node.placement);
    return settings;
  }

  /// Adds what the node costs; gives the bytes that it holds on the CPU while it fires.
  double node(const Plan& plan, const PlanNode& node, std::vector<Extent>& slots, double firings) {
    std::vector<std::vector<const Extent*>> inputs;
    for (const PlanInput& input : node.inputs) {
      inputs.emplace_back();
      for (const int slot : input.slots) {
        inputs.back().push_back(&slots[static_cast<std::size_t>(slot)]);
      }
    }
    std::vector<Extent> outputs(node.outputs.size());
    NodeEstimate row;
    row.node = node.name;
    row.type = node.type;
    row.firings = firings;
    double held = 0;
    try {
      const std::shared_ptr<Node> made = registry_.make(node.type, node.given);
      const StepSettings settings = settings_of(plan, node);
      row.device = settings.device.str();
      Estimate view(settings, options_.threads, inputs, outputs);
      if (const auto* const knows = dynamic_cast<const Estimates*>(made.get())) {
        knows->estimate(view);
      } else if (gives_rows(made->declaration())) {
        fire_source(*made, settings, outputs);
      } else {
        pass_on(made->declaration(), inputs, outputs);
        if (node.bodies.empty() && reads_a_model(inputs)) {
          row.problem = "it reads a model and does not say what it costs";
        }
      }
      if (!node.bodies.empty()) held = bodies(*made, node, inputs, outputs, firings);
      row.cost = std::move(view.cost);
      if (row.cost.device) row.device = row.cost.device->str();
      measure(row);
    } catch (const Failure& failure) {
      row.problem = failure.problem().text;
    } catch (const c10::Error& error) {
      row.problem = error.what_without_backtrace();
    }
    if (row.device == "cpu") held += row.cost.transient();
    const bool says_something = row.cost.kept() > 0 || row.cost.transient() > 0 || row.flop > 0;
    if (says_something || !row.problem.empty()) out.nodes.push_back(std::move(row));
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      slots[static_cast<std::size_t>(node.outputs[i].slot)] = std::move(outputs[i]);
    }
    return held;
  }

  static bool reads_a_model(const std::vector<std::vector<const Extent*>>& inputs) {
    return std::any_of(inputs.begin(), inputs.end(), [](const auto& edges) {
      return std::any_of(edges.begin(), edges.end(),
                         [](const Extent* extent) { return extent->facts != nullptr; });
    });
  }

  /// Whether the node gives rows out of nothing, and no state.
  bool gives_rows(const NodeDeclaration& node) const {
    if (!node.inputs.empty() || !node.bodies.empty()) return false;
    bool rows = false;
    for (const PortDeclaration& port : node.outputs) {
      const PortType* const type = registry_.type(port.type);
      if (type == nullptr || type->declaration.handle) return false;
      rows = rows || holds_rows(port.type);
    }
    return rows;
  }

  static void fire_source(const Node& node, const StepSettings& settings,
                          std::vector<Extent>& extents) {
    SourceContext context(settings.node);
    std::vector<Value> outputs(node.declaration().outputs.size());
    Step step(settings, context, {}, outputs, {0, hash_name(settings.node), 0}, 0);
    node.run(step);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i] || !holds_rows(outputs[i].type()->declaration.name)) continue;
      extents[i].rows = rows_of(outputs[i]);
      extents[i].example = outputs[i];
    }
  }

  /// Values have as many rows as the first input that has any, and texts as long as an input of
  /// their type; a handle stays what it is.
  void pass_on(const NodeDeclaration& node, const std::vector<std::vector<const Extent*>>& inputs,
               std::vector<Extent>& outputs) const {
    const Extent* rows = nullptr;
    for (const auto& edges : inputs) {
      for (const Extent* extent : edges) {
        if (rows == nullptr && extent->rows > 0) rows = extent;
      }
    }
    for (std::size_t i = 0; i < outputs.size() && i < node.outputs.size(); ++i) {
      const PortDeclaration& port = node.outputs[i];
      for (std::size_t k = 0; k < inputs.size() && k < node.inputs.size(); ++k) {
        if (node.inputs[k].name == port.same_as && !inputs[k].empty()) outputs[i] = *inputs[k][0];
      }
      const Extent* const like = example_of(port.type, inputs);
      if (like != nullptr) outputs[i] = *like;
      if (like != nullptr) continue;
      const PortType* const type = registry_.type(port.type);
      if (type == nullptr || type->declaration.handle || rows == nullptr) continue;
      outputs[i] = {rows->rows, rows->tokens, rows->longest, rows->written, {}, {}};
    }
  }

  static const Extent* example_of(const std::string& type,
                                  const std::vector<std::vector<const Extent*>>& inputs) {
    for (const auto& edges : inputs) {
      for (const Extent* extent : edges) {
        if (extent->example && extent->example.type()->declaration.name == type) return extent;
      }
    }
    return nullptr;
  }

  double bodies(const Node& made, const PlanNode& node,
                const std::vector<std::vector<const Extent*>>& inputs, std::vector<Extent>& outputs,
                double firings) {
    const auto* const schedule = dynamic_cast<const FiresBodies*>(&made);
    const double inside = firings * (schedule == nullptr ? 1.0 : schedule->body_firings());
    std::vector<double> held;
    for (const PlanBody& body : node.bodies) {
      std::vector<Extent> given;
      for (const int port : body.input_ports) {
        const auto& edges = inputs[static_cast<std::size_t>(port)];
        given.push_back(edges.empty() ? Extent() : *edges[0]);
      }
      const std::vector<Extent> results = run(*body.plan, given, inside);
      held.push_back(largest_);
      for (std::size_t i = 0; i < results.size(); ++i) {
        outputs[static_cast<std::size_t>(body.output_ports[i])] = results[i];
      }
    }
    return side_by_side(std::move(held));
  }

  void measure(NodeEstimate& row) {
    for (const Work& work : row.cost.work) {
      row.flop += work.flop;
      row.seconds += work.flop / rate_of(work);
    }
  }

  double rate_of(const Work& work) {
    const auto found = rates_.find(work.kind);
    if (found != rates_.end()) return found->second;
    double rate = std::numeric_limits<double>::quiet_NaN();
    try {
      if (work.rate) rate = work.rate();
    } catch (const c10::Error&) {
      // A device that is not here: its rate stays unknown.
    }
    return rates_[work.kind] = rate;
  }

  const Registry& registry_;
  const EstimateOptions& options_;
  GraphEstimate out;
  double largest_ = 0;
  std::map<std::string, double> rates_;
};

}  // namespace

GraphEstimate estimate_graph(const Plan& plan, const Registry& registry,
                             const EstimateOptions& options) {
  GraphEstimator estimator(registry, options);
  estimator.run(plan, std::vector<Extent>(plan.inputs.size()), 1.0);
  return estimator.finish();
}

}  // namespace rewardloom
