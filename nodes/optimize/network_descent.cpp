#include "nodes/optimize/network_descent.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/types.h>

#include <algorithm>

namespace rewardloom {
namespace {

class NetworkDescent {
 public:
  NetworkDescent(Step& step, Network& network, AdamW& optimizer, const NetworkObjective& objective,
                 const DescentOptions& options)
      : step_(step),
        network_(network),
        optimizer_(optimizer),
        objective_(objective),
        options_(options) {}

  DescentReport run() {
    const std::uint64_t before = weight_fingerprint(network_.weights);
    over_mini_batches(step_, objective_.rows(), options_, report_,
                      [this](const std::vector<std::int64_t>& rows) { mini_batch(rows); });
    report_.changed = weight_fingerprint(network_.weights) != before;
    if (report_.changed) network_.set_weight_version(network_.weight_version() + 1);
    return report_;
  }

 private:
  void mini_batch(const std::vector<std::int64_t>& rows) {
    const auto count = static_cast<std::int64_t>(rows.size());
    const at::Tensor all = at::tensor(rows, at::TensorOptions().dtype(at::kLong));
    const std::int64_t size = options_.micro_batch, batches = (count + size - 1) / size;
    std::vector<Gathered> slots(static_cast<std::size_t>(std::min(most_gradient_buffers, batches)));
    step_.parallel(slots.size(), [&](std::size_t s) {
      TensorMap leaves = gradient_leaves(network_.weights);
      for (std::int64_t b = static_cast<std::int64_t>(s); b < batches;
           b += static_cast<std::int64_t>(slots.size())) {
        const NetworkBatch batch{all.narrow(0, b * size, std::min(size, count - b * size)),
                                 static_cast<double>(count), report_.steps == 0,
                                 static_cast<std::uint64_t>(report_.steps)};
        const c10::AutoGradMode with_gradients(true);
        const at::Tensor loss = objective_.loss(leaves, batch, slots[s]);
        slots[s].sums["loss"] += loss.item<double>();
        add_gradients(loss, leaves, slots[s].gradients);
      }
    });
    for (std::size_t s = 1; s < slots.size(); ++s) {
      for (auto& [name, gradient] : slots[s].gradients) {
        at::Tensor& sum = slots[0].gradients[name];
        sum = sum.defined() ? sum.add_(gradient) : gradient;
      }
    }
    add_records(slots, report_);
    take_step(optimizer_, network_.weights, slots[0].gradients, options_, report_);
  }

  Step& step_;
  Network& network_;
  AdamW& optimizer_;
  const NetworkObjective& objective_;
  const DescentOptions& options_;
  DescentReport report_;
};

}  // namespace

void add_gradients(const at::Tensor& loss, TensorMap& leaves, TensorMap& into) {
  if (loss.requires_grad()) loss.backward();
  for (auto& [name, leaf] : leaves) {
    if (!leaf.grad().defined()) continue;
    at::Tensor& sum = into[name];
    sum = sum.defined() ? sum.add_(leaf.grad()) : leaf.grad().clone();
    leaf.mutable_grad() = at::Tensor();
  }
}

DescentReport descend_network(Step& step, Network& network, AdamW& optimizer,
                              const NetworkObjective& objective, const DescentOptions& options) {
  return NetworkDescent(step, network, optimizer, objective, options).run();
}

void report_network(Step& step, const std::string& prefix, const DescentReport& report,
                    std::int64_t rows) {
  const auto steps = static_cast<double>(std::max<std::int64_t>(1, report.steps));
  for (const auto& [name, value] : report.sums) {
    if (name.starts_with("mean:")) {
      step.metric(prefix + name.substr(5), value / static_cast<double>(rows));
    } else {
      step.metric(prefix + name, value / steps);
    }
  }
  report_descent(step, prefix, report, false);
}

at::Tensor evaluate_terms(const std::vector<UpdateTerm>& terms, const LossBatch& shared,
                          const at::Tensor& rows, Gathered& into) {
  at::Tensor total;
  for (const UpdateTerm& term : terms) {
    LossBatch batch = shared;
    for (const auto& [name, tensor] : term.data) batch.set(name, tensor.index_select(0, rows));
    const LossResult result = term.function->evaluate(batch);
    total = total.defined() ? total + result.loss : result.loss;
    into.sums[term.name + "/loss"] += result.loss.detach().item<double>();
    for (const auto& [name, value] : result.outputs) {
      if (value.numel() != 1) continue;
      into.sums["mean:" + term.name + "/" + name] +=
          static_cast<double>(rows.size(0)) * value.item<double>();
    }
  }
  return total;
}

bool has_turn(Step& step, const Optional<Scalar>& turn) {
  const Scalar* const given = step[turn];
  const bool trains = given == nullptr ? !step.connected(turn) : given->value != 0;
  step.metric("trains", trains ? 1 : 0);
  return trains;
}

}  // namespace rewardloom
