// What a node says, before a run, of the memory and time that it will take.
#pragma once
#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/step.h"

namespace rewardloom {

/// StepSettings::micro_batch of a placement that says "auto": a node that trains takes as many rows
/// as its memory budget holds, the others take their own choice.
inline constexpr std::int64_t automatic_micro_batch = -1;
/// Of a node's entry under `placement`; 0 where it says nothing. Failure `param-type` for anything
/// but a number from 0 on and "auto".
std::int64_t micro_batch_of_placement(const Json& placement);

/// What is known of a handle's state before it exists, e.g. a model's configuration.
class HandleFacts {
 public:
  virtual ~HandleFacts() = default;
};

/// What is known of a value before it exists; 0 where a size is not known.
struct Extent {
  std::int64_t rows = 0;
  std::int64_t tokens = 0;   ///< of all rows, padding left out
  std::int64_t longest = 0;  ///< tokens of the longest row
  std::int64_t written = 0;  ///< tokens that a model wrote, of all rows
  Value example;             ///< what a source of rows gives in the first iteration
  std::shared_ptr<const HandleFacts> facts;
};

/// Floating-point work of one kind. `rate` measures how many FLOP/s this machine makes of it within
/// a fraction of a second; it is called once for all work of the same `kind`.
struct Work {
  double flop = 0;
  std::string kind;
  std::function<double()> rate;
};
/// Processor time of the calling thread in seconds: what a rate is measured by on a busy machine.
double processor_seconds();

/// Bytes that a node keeps from firing to firing, and those that it needs while it fires.
struct NodeCost {
  std::int64_t parameters = 0;
  double weights = 0;
  double copies = 0;  ///< of the weights, in the order that the passes want
  double optimizer = 0;

  double gradients = 0;
  double activations = 0;
  double cache = 0;  ///< keys and values
  double logits = 0;

  std::vector<Work> work;
  std::int64_t micro_batch = 0;       ///< rows per pass
  std::optional<c10::Device> device;  ///< that holds it; none: the node's

  double kept() const { return weights + copies + optimizer; }
  double checkpoint() const { return weights + optimizer; }
  double transient() const { return gradients + activations + cache + logits; }
};

/// One node's view of an estimate: what is known of its inputs, and what it says of its outputs.
class Estimate {
 public:
  using Ports = std::span<const std::vector<const Extent*>>;
  Estimate(const StepSettings& settings, int threads, Ports inputs, std::span<Extent> outputs)
      : settings_(settings), threads_(threads), inputs_(inputs), outputs_(outputs) {}

  NodeCost cost;

  template <template <class> class Port, class T>
  const Extent& operator[](const Port<T>& port) const {
    static const Extent unknown;
    const auto& edges = inputs_[port.index];
    return edges.empty() ? unknown : *edges[0];
  }
  template <class T>
  Extent& operator[](const Output<T>& port) {
    return outputs_[port.index];
  }
  template <template <class> class Port, class T>
  bool connected(const Port<T>& port) const {
    return !inputs_[port.index].empty();
  }

  std::int64_t micro_batch() const { return settings_.micro_batch; }
  c10::Device device() const { return settings_.device; }
  std::string path(const std::string& given) const { return path_from(settings_.file, given); }
  /// How many of `count` passes are under way at once.
  std::int64_t at_once(std::int64_t count) const {
    return std::max<std::int64_t>(1, std::min<std::int64_t>(threads_, count));
  }

 private:
  const StepSettings& settings_;
  int threads_;
  Ports inputs_;
  std::span<Extent> outputs_;
};

/// A node that knows what it will cost. Of others it is assumed that they cost next to nothing and
/// give as many rows as they take.
class Estimates {
 public:
  /// Fills `cost` and the outputs' extents. May read what is small (configurations, tokenizers, the
  /// rows of a file), but no weights. Throws Failure.
  virtual void estimate(Estimate& estimate) const = 0;

 protected:
  ~Estimates() = default;
};

/// A container that does not run its bodies once per firing.
class FiresBodies {
 public:
  /// How often per firing, on average; at most where a condition decides.
  virtual double body_firings() const = 0;

 protected:
  ~FiresBodies() = default;
};

}  // namespace rewardloom
