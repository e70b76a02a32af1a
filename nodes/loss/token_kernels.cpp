#include "nodes/loss/token_kernels.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "nodes/loss/masking.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

using namespace vector_math;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// bounded_exp's limit.
constexpr float kLargestLog = 80.0f;

/// Three float32 inputs of `count` tokens (the third may be null), and what is written for them.
struct Rows {
  const bool* mask;
  std::array<const float*, 3> in;
  float* value;
  float* derivative;
  std::int64_t count;
};

struct Terms {
  Floats value, derivative;
  std::array<Floats, 3> logged;
};

REWARDLOOM_INLINE Integers lanes_of(const bool* mask) {
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  Bytes bytes;
  std::memcpy(&bytes, mask, sizeof bytes);
  return -__builtin_convertvector(bytes, Integers);
}
REWARDLOOM_INLINE Floats kept(const Floats& x, const Integers& there) {
  return __builtin_bit_cast(Floats, __builtin_bit_cast(Integers, x) & there);
}
REWARDLOOM_INLINE Floats one_where(const Integers& truth) { return kept(fill(1.0f), truth); }
REWARDLOOM_INLINE Floats smaller(const Floats& a, const Floats& b) { return a < b ? a : b; }
/// What is no number stays none, here and below: the optimizer must hear of it.
REWARDLOOM_INLINE Floats within(const Floats& x, float least, float most) {
  return x < fill(least) ? fill(least) : (x > fill(most) ? fill(most) : x);
}
REWARDLOOM_INLINE Floats at_most(const Floats& x, float most) {
  return x > fill(most) ? fill(most) : x;
}
REWARDLOOM_INLINE Floats or_no_number(const Floats& x, const Floats& otherwise) {
  return x != x ? x : otherwise;
}
REWARDLOOM_INLINE Floats magnitude(const Floats& x) { return larger(x, -x); }

/// Calls f for sixteen tokens at a time. Sums leave the lanes often enough to stay exact.
template <class F>
REWARDLOOM_INLINE void each_token(const Rows& rows, double* sums, const F& f) {
  constexpr std::int64_t kBlock = 64 * lanes;
  for (std::int64_t first = 0; first < rows.count; first += kBlock) {
    const std::int64_t last = std::min(rows.count, first + kBlock);
    Floats total[3] = {};
    for (std::int64_t t = first; t < last; t += lanes) {
      const std::int64_t n = std::min(lanes, last - t);
      bool mask[lanes] = {};
      Floats x[3] = {};
      if (n == lanes) {
        for (int k = 0; k < 3; ++k) {
          if (rows.in[k] != nullptr) x[k] = load(rows.in[k] + t);
        }
      } else {
        std::memcpy(mask, rows.mask + t, static_cast<std::size_t>(n));
        for (int k = 0; k < 3; ++k) {
          if (rows.in[k] != nullptr) x[k] = load_some(rows.in[k] + t, n, 0.0f);
        }
      }
      const Integers there = lanes_of(n == lanes ? rows.mask + t : mask);
      const Terms terms = f(x[0], x[1], x[2]);
      const Floats value = kept(terms.value, there), slope = kept(terms.derivative, there);
      if (n == lanes) {
        store(rows.value + t, value);
        store(rows.derivative + t, slope);
      } else {
        store_some(rows.value + t, value, n);
        store_some(rows.derivative + t, slope, n);
      }
      for (int k = 0; k < 3; ++k) total[k] += kept(terms.logged[k], there);
    }
    for (int k = 0; k < 3; ++k) sums[k] += static_cast<double>(sum(total[k]));
  }
}

struct ClipNumbers {
  float log_ratio, low, high, dual, cap;
};

REWARDLOOM_VECTORISED
void clip_rows(const Rows& rows, const ClipNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const Floats free = x - old;
        const Floats log_ratio = within(free, -c.log_ratio, c.log_ratio);
        const Floats ratio = exponential(at_most(log_ratio, kLargestLog));
        const Integers moves = (free == log_ratio) & (log_ratio <= fill(kLargestLog));
        const Floats plain = -a * at_most(ratio, c.cap);
        const Floats clipped = -a * within(ratio, c.low, c.high);
        const Integers is_clipped = clipped > plain;
        const Integers follows =
            is_clipped ? (ratio >= fill(c.low)) & (ratio <= fill(c.high)) : ratio <= fill(c.cap);
        const Floats chosen = is_clipped ? clipped : plain;
        const Floats bound = magnitude(a) * c.dual;
        const Integers held = chosen > bound;
        return Terms{held ? bound : chosen,
                     or_no_number(free, kept(-a * ratio, moves & follows & ~held)),
                     {one_where(is_clipped), one_where(held), -log_ratio}};
      });
}

struct CispoNumbers {
  float log_ratio, least, most;
};

REWARDLOOM_VECTORISED
void cispo_rows(const Rows& rows, const CispoNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const Floats log_ratio = within(x - old, -c.log_ratio, c.log_ratio);
        const Floats ratio = exponential(at_most(log_ratio, kLargestLog));
        const Floats held = within(ratio, c.least, c.most);
        const Floats slope = -held * a;
        return Terms{slope * x, slope, {one_where(held != ratio), -log_ratio, Floats{}}};
      });
}

/// e^-x - 1 + x; near 0 by its series, where the terms of the formula cancel.
REWARDLOOM_INLINE Terms low_variance(const Floats& x, const Floats& e) {
  Floats v = fill(-1.0f / 5040);
  v = v * x + 1.0f / 720;
  v = v * x - 1.0f / 120;
  v = v * x + 1.0f / 24;
  v = v * x - 1.0f / 6;
  v = v * x + 0.5f;
  Floats s = fill(-1.0f / 720);
  s = s * x + 1.0f / 120;
  s = s * x - 1.0f / 24;
  s = s * x + 1.0f / 6;
  s = s * x - 0.5f;
  s = s * x + 1.0f;
  const Integers near = magnitude(x) < fill(0.25f);
  return {near ? v * x * x : e - 1.0f + x, near ? s * x : 1.0f - e, {}};
}

struct KlNumbers {
  KlEstimator estimator;
  float input, output;
};

REWARDLOOM_VECTORISED
void kl_rows(const Rows& rows, const KlNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& log_probs, const Floats& reference, const Floats&)
          __attribute__((always_inline)) {
            const Floats free = log_probs - reference;
            const Floats x = within(free, -c.input, c.input);
            Integers moves = free == x;
            Terms terms{x, fill(1.0f), {}};
            if (c.estimator == KlEstimator::abs) {
              terms = {magnitude(x), one_where(x > 0) - one_where(x < 0), {}};
            } else if (c.estimator == KlEstimator::k2) {
              terms = {0.5f * x * x, x, {}};
            } else if (c.estimator == KlEstimator::k3) {
              const Floats bounded = -at_most(-x, kLargestLog);
              moves = moves & (x >= fill(-kLargestLog));
              terms = low_variance(bounded, exponential(-bounded));
            }
            const Floats held = within(terms.value, -c.output, c.output);
            const Integers inside = held == terms.value;
            const Integers clamped =
                (magnitude(free) > fill(c.input)) | (magnitude(held) >= fill(c.output));
            return Terms{held,
                         or_no_number(free, kept(terms.derivative, moves & inside)),
                         {held, one_where(clamped), Floats{}}};
          });
}

REWARDLOOM_VECTORISED
void value_rows(const Rows& rows, float clip, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& v, const Floats& old, const Floats& target) __attribute__((always_inline)) {
        const Floats held = smaller(larger(v, old - clip), old + clip);
        const Floats off = v - target, held_off = held - target;
        const Floats plain = off * off, clipped = held_off * held_off;
        const Integers is_clipped = clipped > plain;
        return Terms{is_clipped ? clipped : plain,
                     kept(2.0f * off, ~is_clipped),
                     {one_where(is_clipped), Floats{}, Floats{}}};
      });
}

template <class F>
TokenPass passed(const at::Tensor& mask, const std::vector<at::Tensor>& inputs, const F& rows_of) {
  const at::Tensor m = mask.contiguous();
  std::vector<at::Tensor> kept_alive;
  Rows rows{m.data_ptr<bool>(), {}, nullptr, nullptr, m.numel()};
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    kept_alive.push_back(inputs[k].detach().contiguous());
    rows.in[k] = kept_alive.back().data_ptr<float>();
  }
  TokenPass pass;
  pass.value = at::empty(m.sizes(), at::kFloat);
  pass.derivative = at::empty(m.sizes(), at::kFloat);
  rows.value = pass.value.data_ptr<float>();
  rows.derivative = pass.derivative.data_ptr<float>();
  rows_of(rows, pass.means.data());
  const double tokens = std::max(1.0, token_count(m).item<double>());
  for (double& mean : pass.means) mean /= tokens;
  return pass;
}

float limit_of(const std::optional<double>& limit) {
  return limit ? static_cast<float>(*limit) : kInfinity;
}

struct WithDerivative : torch::autograd::Function<WithDerivative> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                            const at::Tensor& value, const at::Tensor& derivative) {
    context->save_for_backward({derivative});
    return value.view_as(value);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    return {context->get_saved_variables()[0] * gradients[0], at::Tensor(), at::Tensor()};
  }
};

}  // namespace

bool fits_token_pass(const at::Tensor& mask, std::initializer_list<at::Tensor> inputs) {
  if (!mask.device().is_cpu() || mask.scalar_type() != at::kBool || mask.dim() != 2) return false;
  return std::all_of(inputs.begin(), inputs.end(), [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.sizes() == mask.sizes();
  });
}

TokenPass clip_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                    const at::Tensor& old_log_probs, const at::Tensor& advantages,
                    const PolicyClipOptions& options) {
  const ClipNumbers numbers{limit_of(options.log_ratio_clamp), static_cast<float>(1 - options.low),
                            static_cast<float>(1 + options.high), limit_of(options.dual),
                            limit_of(options.ratio_cap)};
  return passed(mask, {log_probs, old_log_probs, advantages},
                [&](const Rows& rows, double* sums) { clip_rows(rows, numbers, sums); });
}

TokenPass cispo_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                     const at::Tensor& old_log_probs, const at::Tensor& advantages,
                     const std::optional<double>& log_ratio_clamp, double least, double most) {
  const CispoNumbers numbers{limit_of(log_ratio_clamp), static_cast<float>(least),
                             static_cast<float>(most)};
  return passed(mask, {log_probs, old_log_probs, advantages},
                [&](const Rows& rows, double* sums) { cispo_rows(rows, numbers, sums); });
}

TokenPass kl_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                  const at::Tensor& ref_log_probs, const KlOptions& options) {
  const KlNumbers numbers{options.estimator, limit_of(options.input_clamp),
                          limit_of(options.output_clamp)};
  return passed(mask, {log_probs, ref_log_probs},
                [&](const Rows& rows, double* sums) { kl_rows(rows, numbers, sums); });
}

TokenPass value_pass(const at::Tensor& mask, const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, double clip) {
  return passed(mask, {values, old_values, returns}, [&](const Rows& rows, double* sums) {
    value_rows(rows, static_cast<float>(clip), sums);
  });
}

at::Tensor differentiable(const at::Tensor& input, const TokenPass& pass) {
  if (!input.requires_grad() || !at::GradMode::is_enabled()) return pass.value;
  return WithDerivative::apply(input, pass.value, pass.derivative);
}

}  // namespace rewardloom
