#include "nodes/optimize/descent.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace rewardloom {

namespace {

/// Sum of all weights' bits: equal before and after only if (all but surely)
/// nothing changed.
std::uint64_t fingerprint(const WeightMap& weights) {
  std::uint64_t total = 0;
  for (const auto& [name, tensor] : weights) {
    const at::Tensor words = tensor.detach().contiguous().view(at::kInt);
    if (!words.device().is_cpu()) {
      total = mix(total, static_cast<std::uint64_t>(words.sum().item<std::int64_t>()));
      continue;
    }
    const auto* data = reinterpret_cast<const std::uint32_t*>(words.data_ptr<int>());
    std::uint64_t sum = 0;
    for (std::int64_t i = 0; i < words.numel(); ++i)
      sum += data[i] * (2 * static_cast<std::uint64_t>(i) + 1);
    total = mix(total, sum);
  }
  return total;
}

class Descent {
 public:
  Descent(Step& step, LanguageModel& model, AdamW& optimizer, Objective& objective,
          const DescentOptions& options)
      : step_(step),
        model_(model),
        optimizer_(optimizer),
        objective_(objective),
        options_(options) {}

  DescentReport run() {
    const std::uint64_t before = fingerprint(model_.decoder().weights());
    const std::int64_t count = objective_.units();
    const std::int64_t size =
        options_.mini_batch > 0 ? std::min(options_.mini_batch, count) : count;
    for (std::int64_t epoch = 0; epoch < options_.epochs; ++epoch) {
      const std::vector<std::int64_t> order = unit_order(epoch, size < count);
      for (std::int64_t first = 0; first < count; first += size) {
        const auto start = order.begin() + first;
        mini_batch({start, start + std::min(size, count - first)});
      }
    }
    const auto taken = static_cast<double>(report_.steps - report_.skipped);
    report_.gradient_norm /= std::max(1.0, taken);
    report_.changed = fingerprint(model_.decoder().weights()) != before;
    if (report_.changed) model_.set_weight_version(model_.weight_version() + 1);
    return report_;
  }

 private:
  std::vector<std::int64_t> unit_order(std::int64_t epoch, bool several) const {
    std::vector<std::int64_t> order(static_cast<std::size_t>(objective_.units()));
    std::iota(order.begin(), order.end(), 0);
    if (!several || !options_.shuffle) return order;
    Random random = step_.random(hash_name("row order"), static_cast<std::uint64_t>(epoch));
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
    return order;
  }

  void mini_batch(const std::vector<std::int64_t>& units) {
    if (!objective_.begin(units)) return;
    const auto count = static_cast<std::int64_t>(units.size());
    const std::int64_t size = options_.micro_batch, batches = (count + size - 1) / size;
    std::vector<Gathered> slots(static_cast<std::size_t>(std::min(most_gradient_buffers, batches)));
    step_.parallel(slots.size(), [&](std::size_t s) {
      slots[s].gradients = model_.decoder().zero_gradients();
      for (std::int64_t b = static_cast<std::int64_t>(s); b < batches; b += slots.size()) {
        objective_.micro_batch(units, b * size, std::min(size, count - b * size), slots[s]);
      }
    });
    for (std::size_t s = 1; s < slots.size(); ++s) {
      for (auto& [name, gradient] : slots[0].gradients) gradient.add_(slots[s].gradients.at(name));
    }
    for (const Gathered& slot : slots) {
      for (const auto& [name, value] : slot.sums) report_.sums[name] += value;
      for (const auto& [name, value] : slot.largest) {
        double& most = report_.largest.try_emplace(name, value).first->second;
        most = std::max(most, value);
      }
    }
    take_step(slots[0].gradients);
  }

  void take_step(WeightMap& gradients) {
    AdamWOptions options = options_.adamw;
    options.learning_rate *=
        schedule_factor(options_.schedule, optimizer_.steps() + optimizer_.skipped(),
                        options_.warmup_steps, options_.total_steps);
    // The map shares the tensors: they change in place.
    WeightMap weights = model_.decoder().weights();
    const AdamWStep done = optimizer_.step(weights, gradients, options);
    if (!done.skipped) model_.decoder().weights_changed();
    report_.gradient_norm += done.skipped ? 0 : done.gradient_norm;
    report_.learning_rate = options.learning_rate;
    report_.clipped += done.clipped;
    report_.skipped += done.skipped;
    ++report_.steps;
  }

  Step& step_;
  LanguageModel& model_;
  AdamW& optimizer_;
  Objective& objective_;
  const DescentOptions& options_;
  DescentReport report_;
};

}  // namespace

void Gathered::raise(const std::string& name, double value) {
  double& most = largest.try_emplace(name, value).first->second;
  most = std::max(most, value);
}

DescentReport descend(Step& step, LanguageModel& model, AdamW& optimizer, Objective& objective,
                      const DescentOptions& options) {
  return Descent(step, model, optimizer, objective, options).run();
}

void report_descent(Step& step, const std::string& prefix, const DescentReport& r,
                    bool expects_gradient) {
  step.metric(prefix + "grad_norm", r.gradient_norm);
  step.metric(prefix + "lr", r.learning_rate);
  step.metric(prefix + "steps", static_cast<double>(r.steps));
  step.metric(prefix + "grad_clipped", static_cast<double>(r.clipped));
  step.metric(prefix + "skipped_steps", static_cast<double>(r.skipped));
  if (r.skipped > 0) {
    step.alarm("non-finite-gradient", fmt::format("{} of {} optimizer steps had a gradient that is "
                                                  "not finite and were skipped",
                                                  r.skipped, r.steps));
  }
  if (r.changed || r.learning_rate <= 0 || r.steps == r.skipped) return;
  if (r.gradient_norm > 0) {
    step.alarm("weights-unchanged",
               "the gradient was not zero, but no weight has changed: the learning "
               "rate is below what float32 can add");
  } else if (expects_gradient) {
    step.alarm("no-gradient", "every gradient is 0: nothing was learnt and no weight has changed");
  }
}

}  // namespace rewardloom
