// One firing of one node: its inputs, its outputs and what the run offers to it.
#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/random.h"
#include "engine/core/value.h"

namespace rewardloom {

/// State of a node as the run keeps it: the object, and how it gets into and out of a checkpoint.
struct StateHolder {
  std::shared_ptr<void> object;
  std::function<void(Package&)> save;
  std::function<void(const Package&)> load;
};

/// How a container runs one of its bodies.
struct BodyCall {
  std::size_t part = 0;    ///< which body of the parameter (its position in the list)
  std::int64_t index = 0;  ///< counts the calls within this firing
  std::int64_t of = 1;  ///< how many calls a firing makes at most: inside the body the iteration,
                        ///< and with it the random streams, is outer iteration * of + index
  std::string branch;   ///< a name of its own for state and metrics; empty: shared by all calls
  std::uint64_t seed_offset = 0;  ///< added to the run's seed inside the body
};
using NamedValues = std::vector<std::pair<std::string, Value>>;

/// What a run offers to the nodes. Implemented by the executor, and by `eval` and tests in a small
/// form.
class StepContext {
 public:
  virtual ~StepContext() = default;
  virtual void metric(std::string_view name, double value) = 0;
  virtual void alarm(std::string_view code, std::string_view text) = 0;
  virtual bool cancelled() const = 0;
  /// The state called `name` of this node; made by `make` (and loaded from the checkpoint) at
  /// first.
  virtual StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) = 0;
  /// Calls function(0..count-1), several at once. The split must not depend on the thread count.
  virtual void parallel(std::size_t count, const std::function<void(std::size_t)>& function) = 0;
  virtual NamedValues run_body(std::size_t body, const BodyCall& call) = 0;
  /// Notes that row `row` failed; throws if the node's policy is to stop.
  virtual void fail_row(std::int64_t row, std::string_view reason) = 0;
};

/// What is fixed for a node while the run lasts.
struct StepSettings {
  std::string node;     ///< path, e.g. "update" or "loop/update"
  std::string file;     ///< the graph file, for messages
  std::string run_dir;  ///< the run folder; empty outside a run
  c10::Device device{c10::kCPU};
  std::int64_t micro_batch = 0;  ///< rows that are worked on at once; 0: the node's choice
  std::size_t bodies = 0;        ///< containers: how many plans the body parameter gave
  std::vector<std::string>
      output_names;  ///< the declared outputs, then those of a container's bodies
};

/// A node whose set-up can fail for reasons that the checker does not see, such as a program that
/// is missing. A run calls `prepare` once, before its first iteration; elsewhere it may not be
/// called.
class Prepares {
 public:
  /// Throws Failure.
  virtual void prepare(const StepSettings& settings) const = 0;

 protected:
  ~Prepares() = default;
};

/// A path in a graph file: as it is if absolute, else beside that file, else in the working
/// directory.
std::string path_from(const std::string& graph_file, const std::string& given);

namespace detail {
template <class T>
StateHolder hold(std::shared_ptr<T> object) {
  StateHolder holder;
  T* const raw = object.get();
  holder.object = std::move(object);
  holder.save = [raw](Package& out) {
    raw->save(out);
    if constexpr (std::is_base_of_v<HandleState, T>) {
      out.meta["weight_version"] = raw->weight_version();
    }
  };
  holder.load = [raw](const Package& in) {
    raw->load(in);
    if constexpr (std::is_base_of_v<HandleState, T>) {
      raw->set_weight_version(in.meta.at("weight_version").template get<std::int64_t>());
    }
  };
  return holder;
}
}  // namespace detail

/// Read access to the edges of a variadic input.
template <class T>
class InputList {
 public:
  explicit InputList(std::span<const Value* const> values) : values_(values) {}
  std::size_t size() const { return values_.size(); }
  const T& operator[](std::size_t i) const { return values_[i]->template get<T>(); }

 private:
  std::span<const Value* const> values_;
};

class Step {
 public:
  using Ports = std::span<const std::vector<const Value*>>;

  Step(const StepSettings& settings, StepContext& context, Ports inputs, std::span<Value> outputs,
       RandomKey random, std::int64_t iteration)
      : settings_(settings),
        context_(context),
        inputs_(inputs),
        outputs_(outputs),
        random_(random),
        iteration_(iteration) {}

  template <class T>
  const T& operator[](const Input<T>& port) const {
    return inputs_[port.index][0]->template get<T>();
  }
  template <class T>
  const T* operator[](const Optional<T>& port) const {
    const auto& edges = inputs_[port.index];
    return edges.empty() || !*edges[0] ? nullptr : &edges[0]->template get<T>();
  }
  template <class T>
  InputList<T> operator[](const Inputs<T>& port) const {
    return InputList<T>(inputs_[port.index]);
  }

  /// `step[port] = T{...}`
  template <class T>
  class Slot {
   public:
    explicit Slot(Value& value) : value_(value) {}
    void operator=(T value) { value_ = Value::of<T>(std::move(value)); }

   private:
    Value& value_;
  };
  template <class T>
  Slot<T> operator[](const Output<T>& port) {
    return Slot<T>(outputs_[port.index]);
  }

  template <class H>
  bool connected(const Reads<H>& port) const {
    return !inputs_[port.index].empty();
  }
  template <class T>
  bool connected(const Optional<T>& port) const {
    return !inputs_[port.index].empty();
  }

  /// The state behind a handle. Throws Failure `handle-kind` if it is no Model.
  template <class Model, class H>
  const Model& read(const Reads<H>& port) const {
    return as<Model>(handle<H>(port.index));
  }
  template <class Model, class H>
  Model& write(const Writes<H>& port) const {
    return as<Model>(handle<H>(port.index));
  }
  /// The handle itself, to pass it on.
  template <class H>
  const H& pass(const Writes<H>& port) const {
    return inputs_[port.index][0]->template get<H>();
  }
  template <class H>
  const H& pass(const Reads<H>& port) const {
    return inputs_[port.index][0]->template get<H>();
  }

  template <class T>
  T& operator[](const State<T>& state) {
    return *shared(state, [] { return std::make_shared<T>(); });
  }
  /// As above for a T that `make` makes (a shared_ptr<T>) when the run has none yet.
  template <class T, class Make>
  std::shared_ptr<T> shared(const State<T>& state, Make make) {
    StateHolder& holder =
        context_.state(state.name, [&] { return detail::hold<T>(std::shared_ptr<T>(make())); });
    return std::static_pointer_cast<T>(holder.object);
  }

  void metric(std::string_view name, double value) { context_.metric(name, value); }
  void alarm(std::string_view code, std::string_view text) { context_.alarm(code, text); }
  bool cancelled() const { return context_.cancelled(); }
  void parallel(std::size_t count, const std::function<void(std::size_t)>& function) {
    context_.parallel(count, function);
  }
  void fail_row(std::int64_t row, std::string_view reason) { context_.fail_row(row, reason); }
  [[noreturn]] void fail(std::string text, std::string help = {}) const {
    fail("node-failed", std::move(text), std::move(help));
  }
  [[noreturn]] void fail(std::string code, std::string text, std::string help) const;

  /// Runs one body of a container. The container's input ports that the body derives from are read
  /// by it directly; its outputs come back under the body's output names.
  NamedValues run(const Body& body, const BodyCall& call) {
    return context_.run_body(body.index, call);
  }

  /// This firing's random stream: (seed, node, iteration); `at(sample, token)` for the rest.
  Random random(std::uint64_t sample = 0, std::uint64_t token = 0) const {
    return Random(random_, sample, token);
  }
  const RandomKey& random_key() const { return random_; }
  /// Identity for a new set of rows made in this firing.
  std::int64_t new_batch() const {
    return static_cast<std::int64_t>(mix(mix(random_.node, random_.iteration), 1) >> 1);
  }
  std::int64_t iteration() const { return iteration_; }
  const std::string& node() const { return settings_.node; }
  const std::string& file() const { return settings_.file; }
  const std::string& run_dir() const { return settings_.run_dir; }
  c10::Device device() const { return settings_.device; }
  std::int64_t micro_batch() const { return settings_.micro_batch; }
  const StepSettings& settings() const { return settings_; }
  /// A path parameter: as it is if absolute, else beside the graph file, else in the working
  /// directory.
  std::string path(const std::string& given) const;

  /// The raw ports, for containers and tests.
  Ports inputs() const { return inputs_; }
  std::span<Value> outputs() { return outputs_; }

 private:
  template <class H>
  const std::shared_ptr<HandleState>& handle(std::size_t index) const {
    return inputs_[index][0]->template get<H>().state;
  }
  template <class Model>
  Model& as(const std::shared_ptr<HandleState>& state) const {
    Model* const model = dynamic_cast<Model*>(state.get());
    if (model == nullptr) refuse_handle(state.get(), Model::kind_name());
    return *model;
  }
  [[noreturn]] void refuse_handle(const HandleState* state, const std::string& wanted) const;

  const StepSettings& settings_;
  StepContext& context_;
  Ports inputs_;
  std::span<Value> outputs_;
  RandomKey random_;
  std::int64_t iteration_;
};

}  // namespace rewardloom
