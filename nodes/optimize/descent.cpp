#include "nodes/optimize/descent.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace rewardloom {

std::uint64_t weight_fingerprint(const WeightMap& weights) {
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

namespace {

std::vector<std::int64_t> unit_order(Step& step, std::int64_t count, std::int64_t epoch,
                                     bool shuffled) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  if (!shuffled) return order;
  Random random = step.random(hash_name("row order"), static_cast<std::uint64_t>(epoch));
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
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
    const std::uint64_t before = weight_fingerprint(model_.decoder().weights());
    over_mini_batches(step_, objective_.units(), options_, report_,
                      [this](const std::vector<std::int64_t>& units) { mini_batch(units); });
    report_.changed = weight_fingerprint(model_.decoder().weights()) != before;
    if (report_.changed) model_.set_weight_version(model_.weight_version() + 1);
    return report_;
  }

 private:
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
    add_records(slots, report_);
    // The map shares the tensors: they change in place.
    WeightMap weights = model_.decoder().weights();
    const AdamWStep done = take_step(optimizer_, weights, slots[0].gradients, options_, report_);
    if (!done.skipped) model_.decoder().weights_changed();
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

void over_mini_batches(Step& step, std::int64_t count, const DescentOptions& options,
                       DescentReport& report,
                       const std::function<void(const std::vector<std::int64_t>&)>& call) {
  const std::int64_t size = options.mini_batch > 0 ? std::min(options.mini_batch, count) : count;
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const std::vector<std::int64_t> order =
        unit_order(step, count, epoch, size < count && options.shuffle);
    for (std::int64_t first = 0; first < count; first += size) {
      const auto start = order.begin() + first;
      call({start, start + std::min(size, count - first)});
    }
  }
  report.gradient_norm /= std::max(1.0, static_cast<double>(report.steps - report.skipped));
}

void add_records(const std::vector<Gathered>& slots, DescentReport& report) {
  for (const Gathered& slot : slots) {
    for (const auto& [name, value] : slot.sums) report.sums[name] += value;
    for (const auto& [name, value] : slot.largest) {
      double& most = report.largest.try_emplace(name, value).first->second;
      most = std::max(most, value);
    }
  }
}

AdamWStep take_step(AdamW& optimizer, WeightMap& weights, WeightMap& gradients,
                    const DescentOptions& options, DescentReport& report) {
  AdamWOptions adamw = options.adamw;
  adamw.learning_rate *= schedule_factor(options.schedule, optimizer.steps() + optimizer.skipped(),
                                         options.warmup_steps, options.total_steps);
  const AdamWStep done = optimizer.step(weights, gradients, adamw);
  report.gradient_norm += done.skipped ? 0 : done.gradient_norm;
  report.learning_rate = adamw.learning_rate;
  report.clipped += done.clipped;
  report.skipped += done.skipped;
  ++report.steps;
  return done;
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
