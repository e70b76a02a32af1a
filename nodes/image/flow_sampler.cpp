#include "nodes/image/flow_sampler.h"

#include <c10/core/GradMode.h>
#include <torch/types.h>

#include <algorithm>

namespace rewardloom {
namespace {

constexpr std::int64_t kRowsAtOnce = 128;

FlowSamples sample_rows(const FlowNet& net, const at::Tensor& labels, const at::Tensor& start,
                        const std::vector<at::Tensor>& noise, const FlowSampling& sampling) {
  const c10::AutoGradMode without_gradients(false);
  const at::Tensor sigmas = flow_sigmas(sampling.steps);
  const std::int64_t rows = labels.size(0);
  at::Tensor x = start;
  std::vector<at::Tensor> before, after, log_probs;
  for (std::int64_t t = 0; t < sampling.steps; ++t) {
    const at::Tensor index = at::full({rows}, t, at::kLong);
    const at::Tensor v = guided_velocity_at(net.weights, net.shape, x, sigmas[t].item<double>(),
                                            labels, sampling.guidance);
    const bool stochastic = t < sampling.stochastic_steps;
    FlowStepOptions options = sampling.step;
    if (!stochastic) options.kind = FlowKind::ode;
    const FlowStep step = flow_step_at(x, v, sigmas, index, options);
    if (!stochastic) {
      x = step.mean;
      continue;
    }
    before.push_back(x);
    x = flow_sample(step, noise[static_cast<std::size_t>(t)]);
    after.push_back(x);
    log_probs.push_back(flow_log_prob(step, x, options.log_prob));
  }
  FlowSamples out;
  out.images = x;
  if (before.empty()) return out;
  out.before = at::stack(before, 1);
  out.after = at::stack(after, 1);
  out.log_probs = at::stack(log_probs, 1);
  return out;
}

}  // namespace

at::Tensor flow_sigmas(std::int64_t steps) {
  return at::arange(steps, -1, -1, at::TensorOptions().dtype(at::kDouble)) /
         static_cast<double>(steps);
}

FlowStep flow_step_at(const at::Tensor& x, const at::Tensor& velocity, const at::Tensor& sigmas,
                      const at::Tensor& index, const FlowStepOptions& options) {
  const double second = sigmas[1].item<double>();
  return flow_step(x, velocity, sigmas.index_select(0, index), sigmas.index_select(0, index + 1),
                   second, options);
}

FlowSamples sample_flow(Step& step, const FlowNet& net, const at::Tensor& labels,
                        const FlowSampling& sampling) {
  const std::int64_t rows = labels.size(0);
  std::vector<std::int64_t> shape = net.shape.chw();
  shape.insert(shape.begin(), rows);
  const at::Tensor start = net.like_weights(row_normals(shape, step.random(), 0));
  std::vector<at::Tensor> noise;
  for (std::int64_t t = 0; t < sampling.stochastic_steps; ++t) {
    noise.push_back(
        net.like_weights(row_normals(shape, step.random(), static_cast<std::uint64_t>(t) + 1)));
  }
  const std::int64_t parts = (rows + kRowsAtOnce - 1) / kRowsAtOnce;
  std::vector<FlowSamples> done(static_cast<std::size_t>(parts));
  step.parallel(done.size(), [&](std::size_t p) {
    const std::int64_t first = static_cast<std::int64_t>(p) * kRowsAtOnce;
    const std::int64_t count = std::min(kRowsAtOnce, rows - first);
    std::vector<at::Tensor> own;
    for (const at::Tensor& n : noise) own.push_back(n.narrow(0, first, count));
    done[p] = sample_rows(net, labels.narrow(0, first, count), start.narrow(0, first, count), own,
                          sampling);
  });
  const auto joined = [&](at::Tensor FlowSamples::*part) {
    std::vector<at::Tensor> all;
    for (const FlowSamples& s : done) all.push_back(s.*part);
    return all.front().defined() ? at::cat(all) : at::Tensor();
  };
  return {joined(&FlowSamples::images), joined(&FlowSamples::before), joined(&FlowSamples::after),
          joined(&FlowSamples::log_probs)};
}

}  // namespace rewardloom
