#include "nodes/image/flow_step.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <numbers>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

/// [N] -> [N,1,...] as wide as `like`.
at::Tensor per_row(const at::Tensor& values, const at::Tensor& like) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = values.size(0);
  return values.reshape(shape);
}

void require_sigmas(const at::Tensor& sigma, const at::Tensor& next, std::int64_t rows) {
  if (sigma.dim() != 1 || sigma.size(0) != rows || next.sizes() != sigma.sizes()) {
    throw Failure("bad-shape",
                  c10::str("sigma is ", sigma.sizes(), ", sigma_next ", next.sizes(),
                           ", but there are ", rows, " rows"),
                  "give one sigma per row");
  }
  const at::Tensor s = sigma.detach().to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor t = next.detach().to(at::kCPU, at::kDouble).contiguous();
  for (std::int64_t i = 0; i < rows; ++i) {
    const double from = s.data_ptr<double>()[i], to = t.data_ptr<double>()[i];
    if (from <= 1 && from > to && to >= 0) continue;
    throw Failure("bad-sigma", fmt::format("row {} goes from sigma {} to {}", i, from, to),
                  "sigmas lie between 1 and 0 and fall at every step");
  }
}

void require_options(const FlowStepOptions& options, const at::Tensor& sigma, double sigma_max) {
  const double level = options.noise_level;
  if (level < 0 || (options.kind == FlowKind::cps && level > 1)) {
    throw Failure(
        "bad-noise-level",
        fmt::format("noise_level {} with {}", level, options.kind == FlowKind::cps ? "cps" : "sde"),
        "cps takes 0 to 1 (beyond it more means less noise), sde 0 or more");
  }
  const bool at_one = options.kind == FlowKind::sde && sigma.detach().ge(1).any().item<bool>();
  if (!at_one || (sigma_max > 0 && sigma_max < 1)) return;
  throw Failure(
      "bad-sigma",
      fmt::format("a row starts at sigma 1 and sigma_max is {}: 1 - sigma is 0", sigma_max),
      "give the second sigma of the schedule as sigma_max");
}

FlowStep sde_step(const at::Tensor& x, const at::Tensor& v, const at::Tensor& sigma,
                  const at::Tensor& next, double sigma_max, double level) {
  const at::Tensor bounded =
      at::where(sigma.ge(1), at::full({}, sigma_max, sigma.options()), sigma);
  const at::Tensor std = level * (sigma / (1 - bounded)).sqrt();
  const at::Tensor dt = next - sigma;
  const at::Tensor drift = std.square() * dt / (2 * sigma);
  const at::Tensor push = (1 + std.square() * (1 - sigma) / (2 * sigma)) * dt;
  return {x * per_row(1 + drift, x) + v * per_row(push, x), std, std * (-dt).sqrt()};
}

FlowStep cps_step(const at::Tensor& x, const at::Tensor& v, const at::Tensor& sigma,
                  const at::Tensor& next, double level) {
  const at::Tensor std = next * std::sin(level * std::numbers::pi / 2);
  const at::Tensor clean = x - per_row(sigma, x) * v;
  const at::Tensor noise = x + per_row(1 - sigma, x) * v;
  const at::Tensor kept = next * std::cos(level * std::numbers::pi / 2);
  return {per_row(1 - next, x) * clean + per_row(kept, x) * noise, std, std};
}

}  // namespace

FlowStep flow_step(const at::Tensor& sample, const at::Tensor& velocity, const at::Tensor& sigma,
                   const at::Tensor& sigma_next, double sigma_max, const FlowStepOptions& options) {
  if (sample.dim() < 1 || sample.sizes() != velocity.sizes()) {
    throw Failure("bad-shape",
                  c10::str("sample is ", sample.sizes(), ", but velocity is ", velocity.sizes()),
                  "the velocity is the model's output for this sample");
  }
  require_sigmas(sigma, sigma_next, sample.size(0));
  require_options(options, sigma, sigma_max);
  const at::Tensor from = sigma.to(sample.options()), to = sigma_next.to(sample.options());
  if (options.kind == FlowKind::sde) {
    return sde_step(sample, velocity, from, to, sigma_max, options.noise_level);
  }
  if (options.kind == FlowKind::cps)
    return cps_step(sample, velocity, from, to, options.noise_level);
  const at::Tensor none = at::zeros_like(from);
  return {sample + per_row(to - from, sample) * velocity, none, none};
}

at::Tensor flow_sample(const FlowStep& step, const at::Tensor& noise) {
  return step.mean + per_row(step.scale, step.mean) * noise;
}

at::Tensor flow_log_prob(const FlowStep& step, const at::Tensor& next_sample, FlowLogProb form) {
  if (next_sample.sizes() != step.mean.sizes()) {
    throw Failure("bad-shape",
                  c10::str("next_sample is ", next_sample.sizes(), ", but the step's mean is ",
                           step.mean.sizes()),
                  "score what this step drew");
  }
  const at::Tensor squared = (next_sample - step.mean).square().flatten(1).mean(-1);
  if (form == FlowLogProb::no_constants) return -squared;
  if (step.scale.detach().le(0).any().item<bool>()) {
    throw Failure("no-density", "a row's step has no noise, so what it leads to has no density",
                  "score stochastic steps only, or set log_prob to no_constants");
  }
  return -squared / (2 * step.scale.square()) - step.scale.log() -
         0.5 * std::log(2 * std::numbers::pi);
}

struct ImageFlowStep final : Node {
  Input<Latents> sample{this, "sample", "x at sigma"};
  Input<Latents> velocity{this, "velocity", "the model's output there, n - x0"};
  Input<Values> sigma{this, "sigma", "of each row", {.dims = "N"}};
  Input<Values> sigma_next{this, "sigma_next", "where the step leads, smaller", {.dims = "N"}};
  Optional<Scalar> sigma_max{this, "sigma_max",
                             "second sigma of the schedule, for the step that starts at 1"};
  Optional<Latents> noise{this, "noise", "what to draw with; else the run's own random numbers"};
  Optional<Latents> given_next{this, "next_sample", "what was drawn before, to be scored"};
  Output<Latents> next_sample{this, "next_sample", "x at sigma_next"};
  Output<Values> log_prob{this, "log_prob", "of next_sample, mean per element", {.dims = "N"}};
  Output<Latents> mean{this, "mean", "next_sample without noise"};
  Output<Values> std{
      this, "std", "spread of the noise (sde: per square root of time)", {.dims = "N"}};
  Param<FlowKind> kind{this, "kind", FlowKind::sde, "which step"};
  Param<double> noise_level{this, "noise_level", 0.7, "a; 0 is the Euler step", {.min = 0}};
  Param<FlowLogProb> form{this, "log_prob", FlowLogProb::gaussian, "what log_prob is"};
  Rule level{this,
             {{{"kind", "cps"}},
              {{"noise_level", {{"max", 1.0}}}},
              "beyond 1 more noise_level means less noise",
              "use 0 to 1 with cps"}};
  Synonyms words{this, {"rectified flow", "Flow-GRPO", "Flow-CPS", "diffusion", "denoising"}};
  Doc doc{
      this,
      "sde: s = a sqrt(sigma / (1 - sigma)), mean = x (1 + s^2 dt / (2 sigma)) + v (1 + s^2 (1 - "
      "sigma) / (2 sigma)) dt, noise s sqrt(-dt). cps: noise std = sigma' sin(a pi / 2), mean = "
      "(1 - sigma') x0 + sqrt(sigma'^2 - std^2) x1. ode: x + v dt. With next_sample the step is "
      "scored, else it is drawn. sample [N,C,H,W]; log_prob [N], the mean over elements; none "
      "where nothing is drawn."};

  void run(Step& step) const override {
    const Latents& x = step[sample];
    const FlowStep flow = flow_step(
        x.latents, step[velocity].latents, step[sigma].values, step[sigma_next].values,
        step[sigma_max] == nullptr ? 1.0 : step[sigma_max]->value, {kind(), noise_level(), form()});
    const Latents* const scored = step[given_next];
    const at::Tensor next = scored != nullptr ? scored->latents : drawn(step, flow);
    const bool dense = form() == FlowLogProb::no_constants || flow.scale.gt(0).all().item<bool>();
    if (dense && kind() != FlowKind::ode) {
      step[log_prob] = Values{flow_log_prob(flow, next, form()), x.batch};
    }
    step[next_sample] = Latents{next, x.batch};
    step[mean] = Latents{flow.mean, x.batch};
    step[std] = Values{flow.std, x.batch};
  }

 private:
  at::Tensor drawn(Step& step, const FlowStep& flow) const {
    if (kind() == FlowKind::ode) return flow.mean;
    if (const Latents* const given = step[noise]) {
      if (given->latents.sizes() == flow.mean.sizes()) return flow_sample(flow, given->latents);
      throw Failure(
          "bad-shape",
          c10::str("noise is ", given->latents.sizes(), ", but the sample is ", flow.mean.sizes()),
          "draw one number per element");
    }
    const at::Tensor own = at::empty(flow.mean.sizes(), at::kDouble);
    const std::int64_t wide = own.size(0) == 0 ? 0 : own.numel() / own.size(0);
    for (std::int64_t row = 0; row < own.size(0); ++row) {
      Random random = step.random(static_cast<std::uint64_t>(row));
      double* const at = own.data_ptr<double>() + row * wide;
      for (std::int64_t i = 0; i < wide; ++i) at[i] = random.normal();
    }
    return flow_sample(flow, own.to(flow.mean.options()));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageFlowStep, "Flow step with log-probability", "arXiv:2505.05470")
