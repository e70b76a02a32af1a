// Fires single nodes by hand: inputs by port name, metrics and alarms kept.
#pragma once
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/all_nodes.h"

namespace rewardloom::testing {

inline const Registry& all_nodes() {
  static const Registry registry = [] {
    Registry r;
    register_all_nodes(r);
    return r;
  }();
  return registry;
}

class BenchContext final : public StepContext {
 public:
  std::map<std::string, double> metrics;
  std::vector<std::string> alarms;
  std::map<std::string, StateHolder> states;
  bool skip_rows = false;  ///< failed rows are noted instead of ending the firing
  std::map<std::int64_t, std::string> failed_rows;
  bool threads = false;  ///< parallel calls each in a thread of their own, last first

  void metric(std::string_view name, double value) override { metrics[std::string(name)] = value; }
  void alarm(std::string_view code, std::string_view) override { alarms.emplace_back(code); }
  bool cancelled() const override { return false; }
  StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) override {
    const auto found = states.find(std::string(name));
    if (found != states.end()) return found->second;
    return states[std::string(name)] = make();
  }
  void parallel(std::size_t count, const std::function<void(std::size_t)>& call) override {
    if (!threads) {
      for (std::size_t i = 0; i < count; ++i) call(i);
      return;
    }
    std::vector<std::thread> running;
    for (std::size_t i = count; i-- > 0;) running.emplace_back([&call, i] { call(i); });
    for (std::thread& thread : running) thread.join();
  }
  NamedValues run_body(std::size_t, const BodyCall&) override { return {}; }
  void fail_row(std::int64_t row, std::string_view reason) override {
    if (!skip_rows) throw Failure("row-failed", std::string(reason));
    failed_rows[row] = reason;
  }
};

/// One node of a graph that a test plays by hand.
class Bench {
 public:
  Bench(const std::string& type, const Json& params, const std::string& name = {})
      : node_(all_nodes().make(type, params)) {
    settings_.node = name.empty() ? type : name;
    outputs_.resize(node_->declaration().outputs.size());
  }
  explicit Bench(std::shared_ptr<Node> node, const std::string& name) : node_(std::move(node)) {
    settings_.node = name;
    outputs_.resize(node_->declaration().outputs.size());
  }

  void connect(const std::string& port, std::vector<Value> values) {
    values_[port] = std::move(values);
  }
  void fire(std::int64_t iteration = 0, std::uint64_t seed = 0) {
    std::vector<std::vector<const Value*>> edges;
    for (const PortDeclaration& port : node_->declaration().inputs) {
      edges.emplace_back();
      for (const Value& value : values_[port.name]) edges.back().push_back(&value);
    }
    Step step(settings_, context, edges, outputs_,
              {seed, hash_name(settings_.node), static_cast<std::uint64_t>(iteration)}, iteration);
    node_->run(step);
  }
  template <class T>
  const T& out(const std::string& port) const {
    return value(port).template get<T>();
  }
  const Value& value(const std::string& port) const {
    const auto& outputs = node_->declaration().outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].name == port) return outputs_[i];
    }
    throw Failure("no-port", port);
  }
  StepSettings& settings() { return settings_; }

  BenchContext context;

 private:
  std::shared_ptr<Node> node_;
  StepSettings settings_;
  std::vector<Value> outputs_;
  std::map<std::string, std::vector<Value>> values_;
};

}  // namespace rewardloom::testing
