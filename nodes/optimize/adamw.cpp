#include "nodes/optimize/adamw.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/problem.h"

namespace rewardloom {

double schedule_factor(Schedule schedule, std::int64_t step, std::int64_t warmup,
                       std::int64_t total, double floor) {
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule == Schedule::constant || total <= warmup) return 1.0;
  const double done =
      std::min(1.0, static_cast<double>(step - warmup) / static_cast<double>(total - warmup));
  if (schedule == Schedule::linear) return floor + (1 - floor) * (1 - done);
  return floor + (1 - floor) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

namespace {

bool has_kernel(const at::Tensor& t) {
  return t.device().is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous();
}

double squares(const at::Tensor& gradient) {
  if (!has_kernel(gradient)) return gradient.to(at::kDouble).square().sum().item<double>();
  const float* g = gradient.data_ptr<float>();
  // Eight partial sums in a fixed order: a single one would wait for its own last addition.
  double part[8] = {};
  const std::int64_t count = gradient.numel();
  for (std::int64_t i = 0; i < count; ++i) part[i & 7] += static_cast<double>(g[i]) * g[i];
  return ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]));
}

struct Factors {
  float keep;  // 1 - learning_rate * weight_decay
  float beta1;
  float beta2;
  float step_size;  // learning_rate / (1 - beta1^t)
  float root;       // 1 / sqrt(1 - beta2^t)
  float epsilon;
};

void update_floats(std::int64_t count, float* __restrict w, const float* __restrict g,
                   float* __restrict m, float* __restrict v, const Factors& f) {
  for (std::int64_t i = 0; i < count; ++i) {
    m[i] = f.beta1 * m[i] + (1.0f - f.beta1) * g[i];
    v[i] = f.beta2 * v[i] + (1.0f - f.beta2) * g[i] * g[i];
    w[i] = f.keep * w[i] - f.step_size * m[i] / (std::sqrt(v[i]) * f.root + f.epsilon);
  }
}

}  // namespace

double global_norm(const TensorMap& gradients) {
  double total = 0;
  for (const auto& [name, gradient] : gradients) total += squares(gradient);
  return std::sqrt(total);
}

AdamW::Moments& AdamW::moments_of(const std::string& name, const at::Tensor& weight) {
  Moments& moments = moments_[name];
  if (!moments.first.defined()) {
    moments = {at::zeros_like(weight).contiguous(), at::zeros_like(weight).contiguous()};
  }
  if (moments.first.sizes() != weight.sizes()) {
    throw Failure(
        "optimizer-state",
        fmt::format("the moments of {} are [{}], the weight is [{}]", name,
                    fmt::join(moments.first.sizes(), ", "), fmt::join(weight.sizes(), ", ")),
        "the optimizer's state belongs to another model");
  }
  return moments;
}

void AdamW::update(at::Tensor& weight, const at::Tensor& gradient, Moments& moments, double decay,
                   const AdamWOptions& o) const {
  const double t = static_cast<double>(steps_);
  const double step_size = o.learning_rate / (1 - std::pow(o.beta1, t));
  const double root = 1 / std::sqrt(1 - std::pow(o.beta2, t));
  if (has_kernel(weight) && has_kernel(gradient) && has_kernel(moments.first)) {
    const Factors factors{static_cast<float>(1 - o.learning_rate * decay),
                          static_cast<float>(o.beta1),
                          static_cast<float>(o.beta2),
                          static_cast<float>(step_size),
                          static_cast<float>(root),
                          static_cast<float>(o.epsilon)};
    update_floats(weight.numel(), weight.data_ptr<float>(), gradient.data_ptr<float>(),
                  moments.first.data_ptr<float>(), moments.second.data_ptr<float>(), factors);
    return;
  }
  moments.first = moments.first.to(weight.device());
  moments.second = moments.second.to(weight.device());
  moments.first.mul_(o.beta1).add_(gradient, 1 - o.beta1);
  moments.second.mul_(o.beta2).addcmul_(gradient, gradient, 1 - o.beta2);
  weight.mul_(1 - o.learning_rate * decay);
  weight.addcdiv_(moments.first, moments.second.sqrt().mul_(root).add_(o.epsilon), -step_size);
}

AdamWStep AdamW::step(TensorMap& weights, TensorMap& gradients, const AdamWOptions& options) {
  const c10::NoGradGuard no_gradient;
  AdamWStep result;
  result.gradient_norm = global_norm(gradients);
  if (!std::isfinite(result.gradient_norm)) {
    result.skipped = true;
    ++skipped_;
    return result;
  }
  if (options.max_grad_norm > 0 && result.gradient_norm > options.max_grad_norm) {
    result.clipped = true;
    for (auto& [name, gradient] : gradients) {
      gradient.mul_(options.max_grad_norm / (result.gradient_norm + 1e-6));
    }
  }
  ++steps_;
  for (auto& [name, weight] : weights) {
    const auto gradient = gradients.find(name);
    if (gradient == gradients.end()) continue;
    const bool decays = options.decay_every_tensor || weight.dim() > 1;
    update(weight, gradient->second, moments_of(name, weight), decays ? options.weight_decay : 0.0,
           options);
  }
  return result;
}

void AdamW::save(Package& out) const {
  for (const auto& [name, moments] : moments_) {
    out.tensors["first." + name] = moments.first;
    out.tensors["second." + name] = moments.second;
  }
  out.meta["steps"] = steps_;
  out.meta["skipped"] = skipped_;
}

void AdamW::load(const Package& in) {
  moments_.clear();
  for (const auto& [name, tensor] : in.tensors) {
    if (name.starts_with("first.")) moments_[name.substr(6)].first = tensor.clone();
    if (name.starts_with("second.")) moments_[name.substr(7)].second = tensor.clone();
  }
  steps_ = in.meta.at("steps").get<std::int64_t>();
  skipped_ = in.meta.at("skipped").get<std::int64_t>();
}

}  // namespace rewardloom
