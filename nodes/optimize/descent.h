// Passes over rows or pairs: mini-batches cut into micro-batches, and one AdamW
// step for each.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/core/step.h"
#include "nodes/optimize/adamw.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

/// Most gradient buffers, and so most passes at once; a constant, so that sums
/// never depend on threads.
inline constexpr std::int64_t most_gradient_buffers = 8;

struct DescentOptions {
  AdamWOptions adamw;
  Schedule schedule = Schedule::constant;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 0;  ///< where the schedule ends; 0: not known
  std::int64_t epochs = 1;
  std::int64_t mini_batch = 0;    ///< units (rows or pairs) per optimizer step; 0: all
  bool shuffle = true;            ///< draw the order of the units where there are several
                                  ///< mini-batches
  std::int64_t micro_batch = 16;  ///< units per forward and backward pass
};

/// What one thread gathers over its micro-batches.
struct Gathered {
  WeightMap gradients;
  std::map<std::string, double> sums;
  std::map<std::string, double> largest;
  void raise(const std::string& name, double value);
};

/// What is minimised. A unit is what a micro-batch may not tear apart: a row,
/// or a pair of rows.
class Objective {
 public:
  virtual ~Objective() = default;
  virtual std::int64_t units() const = 0;
  /// Called before the micro-batches of each optimizer step. False: there is
  /// nothing to learn from these units, and no step is taken.
  virtual bool begin(const std::vector<std::int64_t>& units) = 0;
  /// Adds the gradients and sums of units[first] and the `count - 1` behind it.
  /// Called from several threads at once.
  virtual void micro_batch(const std::vector<std::int64_t>& units, std::int64_t first,
                           std::int64_t count, Gathered& into) const = 0;
};

/// Over all optimizer steps of one firing.
struct DescentReport {
  double gradient_norm = 0;  ///< mean over the steps that were taken, before clipping
  double learning_rate = 0;  ///< of the last step
  std::int64_t steps = 0;
  std::int64_t clipped = 0;
  std::int64_t skipped = 0;  ///< steps with a gradient that is not finite
  bool changed = false;      ///< whether any weight has other bits than before
  std::map<std::string, double> sums;
  std::map<std::string, double> largest;
};

/// Sum over all weights' bits: equal before and after only if (all but surely) no bit has changed.
std::uint64_t weight_fingerprint(const WeightMap& weights);

/// Calls `step` with the units of each optimizer step, of `count` in all: epochs of mini-batches in
/// an order drawn from the run's seed, where there are several. Sets report.gradient_norm to its
/// mean.
void over_mini_batches(Step& step, std::int64_t count, const DescentOptions& options,
                       DescentReport& report,
                       const std::function<void(const std::vector<std::int64_t>&)>& call);

/// Adds what was recorded in the slots, in their order.
void add_records(const std::vector<Gathered>& slots, DescentReport& report);

/// One step of the optimizer at the schedule's learning rate, counted in the report.
AdamWStep take_step(AdamW& optimizer, WeightMap& weights, WeightMap& gradients,
                    const DescentOptions& options, DescentReport& report);

/// Trains `model`. Gradients are added up in an order that depends on the units
/// alone, so that threads change no bit. Counts the weight version up where a
/// weight has changed.
DescentReport descend(Step& step, LanguageModel& model, AdamW& optimizer, Objective& objective,
                      const DescentOptions& options);

/// grad_norm, lr, steps, grad_clipped and skipped_steps under `prefix`, and the
/// alarms non-finite-gradient and weights-unchanged; with `expects_gradient`
/// also no-gradient.
void report_descent(Step& step, const std::string& prefix, const DescentReport& report,
                    bool expects_gradient);

}  // namespace rewardloom
