#include "nodes/loss/vocabulary_kernels.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "nodes/loss/token_kernels.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

namespace vm = vector_math;

/// As in distill: what is impossible has this log-prob.
constexpr float kLowest = -1e30f;

/// Calls f(first, count) for sixteen numbers at a time.
template <class F>
REWARDLOOM_INLINE void each_sixteen(std::int64_t size, const F& f) {
  for (std::int64_t i = 0; i < size; i += vm::lanes) f(i, std::min(vm::lanes, size - i));
}
REWARDLOOM_INLINE vm::Floats take(const float* p, std::int64_t n, float otherwise) {
  return n == vm::lanes ? vm::load(p) : vm::load_some(p, n, otherwise);
}
REWARDLOOM_INLINE void give(float* p, const vm::Floats& x, std::int64_t n) {
  n == vm::lanes ? vm::store(p, x) : vm::store_some(p, x, n);
}

/// Log-probs, at least kLowest, in the place of logits. Sums stand in sixteen lanes.
REWARDLOOM_INLINE void log_softmax(float* z, std::int64_t size) {
  vm::Floats high = vm::fill(-std::numeric_limits<float>::infinity());
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        high = vm::larger(high, take(z + i, n, -std::numeric_limits<float>::infinity()));
      });
  const float top = vm::maximum(high);
  vm::Floats sums = {};
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        sums += vm::exponential(take(z + i, n, -std::numeric_limits<float>::infinity()) - top);
      });
  const float shift = top + std::log(vm::sum(sums));
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = take(z + i, n, 0.0f) - shift;
        give(z + i, x < vm::fill(kLowest) ? vm::fill(kLowest) : x, n);
      });
}

/// Entropy of the distribution, and its derivative -p (log p + H) by the logits.
REWARDLOOM_VECTORISED
float entropy_of(const float* z, std::int64_t size, float* log_prob, float* derivative) {
  std::copy(z, z + size, log_prob);
  log_softmax(log_prob, size);
  vm::Floats sums = {};
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = take(log_prob + i, n, kLowest), p = vm::exponential(x);
        sums -= p * x;
      });
  const float entropy = vm::sum(sums);
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = take(log_prob + i, n, kLowest);
        give(derivative + i, -vm::exponential(x) * (x + entropy), n);
      });
  return entropy;
}

REWARDLOOM_VECTORISED
void log_probs_of(const float* z, std::int64_t size, float scale, float* out) {
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n)
                __attribute__((always_inline)) { give(out + i, take(z + i, n, 0.0f) * scale, n); });
  log_softmax(out, size);
}

/// KL(student || target) of log-probs, and its derivative by the student's logits times `factor`.
REWARDLOOM_VECTORISED
float divergence_of(const float* student, const float* target, std::int64_t size, float factor,
                    float* derivative) {
  vm::Floats sums = {};
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = take(student + i, n, kLowest), y = take(target + i, n, kLowest);
        sums += vm::exponential(x) * (x - y);
      });
  const float kl = vm::sum(sums);
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = take(student + i, n, kLowest), y = take(target + i, n, kLowest);
        give(derivative + i, factor * vm::exponential(x) * (x - y - kl), n);
      });
  return kl;
}

/// Sum of |p - q| of log-probs.
REWARDLOOM_VECTORISED
float distance_of(const float* first, const float* second, std::int64_t size) {
  vm::Floats sums = {};
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats d = vm::exponential(take(first + i, n, kLowest)) -
                             vm::exponential(take(second + i, n, kLowest));
        sums += vm::larger(d, -d);
      });
  return vm::sum(sums);
}

/// out = a (first - second) + base, over the temperature.
REWARDLOOM_VECTORISED
void extrapolate(const float* first, const float* second, const float* base, std::int64_t size,
                 float a, float scale, float* out) {
  const auto held = [](const vm::Floats& x) __attribute__((always_inline)) {
    return x < vm::fill(kLowest) ? vm::fill(kLowest) : x;
  };
  each_sixteen(
      size, [&](std::int64_t i, std::int64_t n) __attribute__((always_inline)) {
        const vm::Floats x = held(take(first + i, n, 0.0f)), y = held(take(second + i, n, 0.0f));
        give(out + i, (a * (x - y) + held(take(base + i, n, 0.0f))) * scale, n);
      });
}

/// Calls f(position) for the positions of the mask; zeros the derivative of the others.
template <class F>
void each_position(const at::Tensor& mask, std::int64_t size, float* derivative, const F& f) {
  const bool* const m = mask.data_ptr<bool>();
  for (std::int64_t at = 0; at < mask.numel(); ++at) {
    if (m[at]) {
      f(at);
    } else {
      std::fill_n(derivative + at * size, size, 0.0f);
    }
  }
}

}  // namespace

bool fits_vocabulary_pass(const at::Tensor& mask, std::initializer_list<at::Tensor> logits) {
  if (!mask.device().is_cpu() || mask.scalar_type() != at::kBool || mask.dim() != 2) return false;
  return std::all_of(logits.begin(), logits.end(), [&](const at::Tensor& z) {
    return z.device().is_cpu() && z.scalar_type() == at::kFloat && z.dim() == 3 &&
           z.sizes() == logits.begin()->sizes() && z.sizes().slice(0, 2) == mask.sizes() &&
           z.size(2) > 0;
  });
}

VocabularyPass entropy_pass(const at::Tensor& mask, const at::Tensor& logits) {
  const at::Tensor m = mask.contiguous(), z = logits.detach().contiguous();
  const std::int64_t size = z.size(2);
  VocabularyPass pass{at::zeros(m.sizes(), at::kFloat), at::empty(z.sizes(), at::kFloat)};
  std::vector<float> log_prob(static_cast<std::size_t>(size));
  float* const derivative = pass.derivative.data_ptr<float>();
  each_position(m, size, derivative, [&](std::int64_t at) {
    pass.value.data_ptr<float>()[at] =
        entropy_of(z.data_ptr<float>() + at * size, size, log_prob.data(), derivative + at * size);
  });
  return pass;
}

AlignPass align_pass(const at::Tensor& mask, const at::Tensor& logits, const at::Tensor& first,
                     const at::Tensor& second, const AlignDistillOptions& options) {
  const at::Tensor m = mask.contiguous(), z = logits.detach().contiguous();
  const at::Tensor one = first.detach().contiguous(), two = second.detach().contiguous();
  const std::int64_t size = z.size(2);
  const auto scale = static_cast<float>(1 / options.temperature);
  AlignPass pass{{at::zeros(m.sizes(), at::kFloat), at::empty(z.sizes(), at::kFloat)},
                 at::zeros(m.sizes(), at::kFloat),
                 at::zeros(m.sizes(), at::kFloat)};
  std::vector<float> a(static_cast<std::size_t>(size)), b(a.size());
  float* const derivative = pass.loss.derivative.data_ptr<float>();
  each_position(m, size, derivative, [&](std::int64_t at) {
    const float* const x = one.data_ptr<float>() + at * size;
    const float* const y = two.data_ptr<float>() + at * size;
    log_probs_of(x, size, scale, a.data());
    log_probs_of(y, size, scale, b.data());
    const auto weight = static_cast<float>(
        options.scale * static_cast<double>(distance_of(a.data(), b.data(), size)) + 1e-3);
    const bool contrast = options.form == AlignForm::aligndistil;
    extrapolate(x, y, contrast ? x : y, size, weight, scale, a.data());
    log_probs_of(a.data(), size, 1.0f, a.data());
    log_probs_of(z.data_ptr<float>() + at * size, size, scale, b.data());
    const float factor = static_cast<float>(options.beta) / weight;
    const float kl =
        divergence_of(b.data(), a.data(), size, factor * scale, derivative + at * size);
    pass.loss.value.data_ptr<float>()[at] = factor * kl;
    pass.weight.data_ptr<float>()[at] = weight;
    pass.kl.data_ptr<float>()[at] = kl;
  });
  return pass;
}

at::Tensor differentiable(const at::Tensor& logits, const VocabularyPass& pass) {
  return differentiable(logits, TokenPass{pass.value, pass.derivative, {}, {}});
}

}  // namespace rewardloom
