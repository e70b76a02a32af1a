#include "nodes/optimize/training_cost.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "nodes/text/lora.h"

namespace rewardloom {

namespace {

constexpr double mebibyte = 1024.0 * 1024.0;

/// Elements of the weights that adapters stand beside: their gradients are made on the way to the
/// adapters'.
double adapted_elements(const ModelConfig& config) {
  if (!config.lora) return 0;
  double total = 0;
  for (const LinearModule& module : linear_modules(config)) {
    const auto& list = config.lora->modules;
    if (std::find(list.begin(), list.end(), module.name) == list.end()) continue;
    total += static_cast<double>(module.in) * static_cast<double>(module.out);
  }
  return total;
}

}  // namespace

std::int64_t micro_batch_of(Step& step, const OptimizerParams& params, const Decoder& decoder,
                            const TokenRows& rows, std::int64_t rows_per_unit) {
  if (step.micro_batch() != automatic_micro_batch) return params.micro_batch(step);
  if (rows.rows() == 0) return params.micro_batch(step);
  const std::int64_t longest = rows.kinds.ne(0).sum(1).max().item<std::int64_t>();
  const double budget = params.memory_budget() * mebibyte;
  const std::int64_t units =
      units_within(decoder.config(), budget, rows_per_unit, longest, rows.rows() / rows_per_unit);
  const PassSize one = pass_size(rows_per_unit, longest, longest);
  const double least =
      training_bytes(decoder.config(), one, decoder.config().has_own_kernels()).total();
  step.metric("micro_batch", static_cast<double>(units));
  if (least > budget) {
    step.alarm(
        "micro-batch-budget",
        fmt::format("one row or pair of {} tokens takes about {:.0f} MiB, memory_budget is {}",
                    longest, least / mebibyte, params.memory_budget()));
  }
  return units;
}

void state_training(Estimate& e, const LanguageModelFacts& model, const OptimizerParams& params,
                    const TrainingRows& training) {
  const ModelConfig& c = model.config;
  const Extent& rows = training.rows;
  const std::int64_t units = rows.rows / training.rows_per_unit;
  if (units == 0) throw Failure("estimate", "nothing is known of its rows before the run");
  const std::int64_t step_units =
      params.mini_batch() > 0 ? std::min(params.mini_batch(), units) : units;
  const std::int64_t micro = e.micro_batch() == automatic_micro_batch
                                 ? units_within(c, params.memory_budget() * mebibyte,
                                                training.rows_per_unit, rows.longest, step_units)
                                 : std::min(step_units, params.micro_batch(e));
  const std::int64_t batches = (step_units + micro - 1) / micro;
  const std::int64_t buffers = std::min(most_gradient_buffers, batches);
  const auto trained = static_cast<double>(model.trained_parameters());
  e.cost.optimizer = 2 * 4.0 * trained;
  const std::int64_t at_once = e.at_once(buffers);
  e.cost.gradients = 4.0 * (static_cast<double>(buffers) * trained +
                            static_cast<double>(at_once) * adapted_elements(c));
  e.cost.copies = model.take_copies(true);
  e.cost.micro_batch = micro;
  e.cost.device = model.device;
  const PassSize pass = some_of(rows, micro * training.rows_per_unit);
  add_passes(e.cost, training_bytes(c, pass, model.own_kernels()), at_once);
  const auto epochs = static_cast<double>(params.epochs());
  const PassSize all{rows.rows, rows.tokens, rows.longest, rows.written};
  e.cost.work.push_back(pass_work(model, epochs * training_flop(c, all), pass, true));
  if (training.whole_step && batches > 1) {
    e.cost.work.push_back(pass_work(model, epochs * forward_flop(c, all), pass, false));
  }
}

}  // namespace rewardloom
