#include "nodes/loss/token_kernels.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "nodes/advantage/token_rows.h"
#include "nodes/loss/known_derivative.h"
#include "nodes/loss/masking.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

using namespace vector_math;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
/// bounded_exp's limit.
constexpr float kLargestLog = 80.0f;

/// Three float32 inputs of `count` tokens (those but the first may be null), and what is written
/// for them (where there is a place).
struct Rows {
  const bool* mask;
  std::array<const float*, 3> in;
  float* value;
  float* derivative;
  std::int64_t count;
  float* covariance = nullptr;

  /// The same from token `first` on.
  Rows part(std::int64_t first, std::int64_t tokens) const {
    const auto moved = [first](auto* p) { return p == nullptr ? p : p + first; };
    return {moved(mask),  {moved(in[0]), moved(in[1]), moved(in[2])},
            moved(value), moved(derivative),
            tokens,       moved(covariance)};
  }
};

/// Of sixteen tokens: a value, its derivative, and numbers whose sums are wanted.
template <std::size_t S>
struct TermsOf {
  static constexpr std::size_t kSums = S;
  Floats value, derivative;
  std::array<Floats, S> logged;
  Floats covariance = {};
};
using Terms = TermsOf<3>;

REWARDLOOM_INLINE Integers lanes_of(const bool* mask) {
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  Bytes bytes;
  std::memcpy(&bytes, mask, sizeof bytes);
  return -__builtin_convertvector(bytes, Integers);
}
REWARDLOOM_INLINE Floats kept(const Floats& x, const Integers& there) {
  return __builtin_bit_cast(Floats, __builtin_bit_cast(Integers, x) & there);
}
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

/// Calls f for sixteen tokens at a time. Sums leave the lanes often enough to stay exact.
template <class F>
REWARDLOOM_INLINE void each_token(const Rows& rows, double* sums, const F& f) {
  constexpr std::int64_t kBlock = 64 * lanes;
  constexpr std::size_t kSums = decltype(f(Floats{}, Floats{}, Floats{}))::kSums;
  for (std::int64_t first = 0; first < rows.count; first += kBlock) {
    const std::int64_t last = std::min(rows.count, first + kBlock);
    Floats total[kSums] = {};
    for (std::int64_t t = first; t < last; t += lanes) {
      const std::int64_t n = std::min(lanes, last - t);
      bool mask[lanes] = {};
      Floats x[3] = {};
      if (n < lanes) std::memcpy(mask, rows.mask + t, static_cast<std::size_t>(n));
      for (int k = 0; k < 3; ++k) {
        if (rows.in[k] != nullptr) x[k] = load_up_to(rows.in[k] + t, n);
      }
      const Integers there = lanes_of(n == lanes ? rows.mask + t : mask);
      const auto terms = f(x[0], x[1], x[2]);
      const auto put = [&](float* to, const Floats& x) __attribute__((always_inline)) {
        if (to != nullptr) store_up_to(to + t, x, n);
      };
      put(rows.value, kept(terms.value, there));
      put(rows.derivative, kept(terms.derivative, there));
      put(rows.covariance, there ? terms.covariance : fill(-kInfinity));
      for (std::size_t k = 0; k < kSums; ++k) total[k] += kept(terms.logged[k], there);
    }
    for (std::size_t k = 0; k < kSums; ++k) sums[k] += static_cast<double>(sum(total[k]));
  }
}

/// e^log_ratio of two log-probs, and where it follows the first: neither bound holds it.
struct Ratio {
  Floats free, log, value;
  Integers moves;
};
REWARDLOOM_INLINE Ratio ratio_of(const Floats& x, const Floats& old, float limit) {
  const Floats free = x - old, log = within(free, -limit, limit);
  return {free, log, exponential(at_most(log, kLargestLog)),
          (free == log) & (log <= fill(kLargestLog))};
}

struct ClipNumbers {
  float log_ratio, low, high, dual, cap;
  float mean_advantage = 0, mean_log_prob = 0;
};

REWARDLOOM_VECTORISED
void clip_rows(const Rows& rows, const ClipNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const auto [free, log_ratio, ratio, moves] = ratio_of(x, old, c.log_ratio);
        const Floats plain = -a * at_most(ratio, c.cap);
        const Floats clipped = -a * within(ratio, c.low, c.high);
        const Integers is_clipped = clipped > plain;
        const Integers follows =
            is_clipped ? (ratio >= fill(c.low)) & (ratio <= fill(c.high)) : ratio <= fill(c.cap);
        const Floats chosen = is_clipped ? clipped : plain;
        const Floats bound = magnitude(a) * c.dual;
        const Integers held = chosen > bound;
        return Terms{
            held ? bound : chosen,
            or_no_number(free, kept(-a * ratio, moves & follows & ~held)),
            {one_where(is_clipped), one_where(held), -log_ratio},
            is_clipped ? fill(-kInfinity) : (a - c.mean_advantage) * (x - c.mean_log_prob)};
      });
}

REWARDLOOM_VECTORISED
void linear_rows(const Rows& rows, float factor, double* sums) {
  const Floats ones = fill(1.0f);
  each_token(
      rows,
      sums, [&](const Floats& x, const Floats& a, const Floats& b) __attribute__((always_inline)) {
        const Floats slope =
            factor * (rows.in[1] != nullptr ? a : ones) * (rows.in[2] != nullptr ? b : ones);
        return Terms{slope * x, slope, {x, Floats{}, Floats{}}};
      });
}

struct SapoNumbers {
  float log_ratio, plus, minus;
};

REWARDLOOM_VECTORISED
void sapo_rows(const Rows& rows, const SapoNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const auto [free, log_ratio, ratio, moves] = ratio_of(x, old, c.log_ratio);
        const Floats tau = a > 0 ? fill(c.plus) : fill(c.minus);
        const Floats e = exponential(-tau * (ratio - 1.0f));
        const Floats gate = 1.0f / (1.0f + e);
        return Terms{-a * gate * 4.0f / tau,
                     or_no_number(free, kept(-a * 4.0f * gate * (e * gate) * ratio, moves)),
                     {-log_ratio, Floats{}, Floats{}}};
      });
}

REWARDLOOM_VECTORISED
void cross_entropy_rows(const Rows& rows, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& v, const Floats& label, const Floats&) __attribute__((always_inline)) {
        const Floats e = exponential(-magnitude(v));
        const Floats high = 1.0f / (1.0f + e);
        const Floats off = (v >= 0 ? high : e * high) - label;
        const Integers wrong = (label < 0) | (label > fill(1.0f));
        return Terms{larger(v, Floats{}) + log_above_one(e) - label * v,
                     off,
                     {magnitude(off), one_where(wrong), Floats{}}};
      });
}

REWARDLOOM_VECTORISED
void sum_rows(const Rows& rows, double* sums) {
  each_token(
      rows,
      sums, [&](const Floats& x, const Floats&, const Floats&) __attribute__((always_inline)) {
        return Terms{x, x, {x, Floats{}, Floats{}}};
      });
}

REWARDLOOM_VECTORISED
void ratio_rows(const Rows& rows, float limit, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const Floats free = x - old;
        return Terms{free, free, {within(free, -limit, limit), a, free}};
      });
}

REWARDLOOM_VECTORISED
void signed_rows(const Rows& rows, double* sums) {
  each_token(
      rows, sums,
      [](const Floats& x, const Floats& old, const Floats& a) __attribute__((always_inline)) {
        const Integers up = a > 0, down = a < 0;
        const Floats log_ratio = x - old;
        // What is no number stays in one of the two.
        return TermsOf<5>{
            log_ratio,
            log_ratio,
            {log_ratio, kept(a, ~down), kept(a, down), one_where(up), one_where(down)}};
      });
}

struct OneSidedNumbers {
  float low, high;
};

REWARDLOOM_VECTORISED
void one_sided_rows(const Rows& rows, const OneSidedNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& log_prob, const Floats& old,
          const Floats& a) __attribute__((always_inline)) {
        const Floats x = log_prob - old;
        const Integers up = a > 0, down = a < 0;
        const Integers above = x > fill(c.high), below = x < fill(-c.low);
        const Floats held = up & above ? fill(c.high) : (down & below ? fill(-c.low) : x);
        const Integers counts = up | down | (x != x);
        const Floats one_sided = kept(held, counts);
        const Integers outside = above | below;
        return TermsOf<5>{one_sided,
                          one_where(counts & ~(up & above) & ~(down & below)),
                          {one_sided, a, one_where(outside & up), one_where(outside & down), x}};
      });
}

struct GuidedNumbers {
  float beta, scale;
};

REWARDLOOM_VECTORISED
void guided_rows(const Rows& rows, const GuidedNumbers& c, double* sums) {
  each_token(
      rows, sums,
      [&](const Floats& x, const Floats& reference, const Floats& guide)
          __attribute__((always_inline)) {
            const Floats weight = c.beta * (1.0f + c.scale * (guide - reference));
            const Floats term = weight * (x - reference);
            return Terms{term, weight, {term, Floats{}, Floats{}}};
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

/// Rows to be read, with what they point into. An input may be undefined.
struct GivenRows {
  at::Tensor mask;
  std::vector<at::Tensor> inputs;
  Rows rows;

  GivenRows(const at::Tensor& given_mask, const std::vector<at::Tensor>& given)
      : mask(given_mask.contiguous()),
        rows{mask.data_ptr<bool>(), {}, nullptr, nullptr, mask.numel()} {
    for (std::size_t k = 0; k < given.size(); ++k) {
      if (!given[k].defined()) continue;
      inputs.push_back(given[k].detach().contiguous());
      rows.in[k] = inputs.back().data_ptr<float>();
    }
  }
};

template <class F>
TokenPass passed(const at::Tensor& mask, const std::vector<at::Tensor>& inputs, const F& rows_of) {
  const GivenRows given(mask, inputs);
  const at::Tensor& m = given.mask;
  Rows rows = given.rows;
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

/// Sums of the terms of each row, [N] double each.
template <std::size_t S = 3, class F>
std::array<at::Tensor, S> summed_by_row(const Rows& rows, std::int64_t count, const F& rows_of) {
  std::array<at::Tensor, S> out;
  for (at::Tensor& sums : out) sums = at::empty({count}, at::kDouble);
  const std::int64_t width = count == 0 ? 0 : rows.count / count;
  for (std::int64_t row = 0; row < count; ++row) {
    double sums[S] = {};
    rows_of(rows.part(row * width, width), sums);
    for (std::size_t k = 0; k < S; ++k) out[k].template data_ptr<double>()[row] = sums[k];
  }
  return out;
}

/// Sums over the tokens of each row, which are known already, as a function of x.
struct SumsOfRows : torch::autograd::Function<SumsOfRows> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                            const at::Tensor& mask, const at::Tensor& sums) {
    context->save_for_backward({mask});
    return sums.view_as(sums);
  }
  static torch::autograd::tensor_list backward(torch::autograd::AutogradContext* context,
                                               torch::autograd::tensor_list gradients) {
    return {on_tokens(gradients[0], context->get_saved_variables()[0]), at::Tensor(), at::Tensor()};
  }
};

float limit_of(const std::optional<double>& limit) {
  return limit ? static_cast<float>(*limit) : kInfinity;
}

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

TokenPass linear_pass(const at::Tensor& mask, const at::Tensor& x, double factor,
                      const at::Tensor& a, const at::Tensor& b) {
  return passed(mask, {x, a, b}, [&](const Rows& rows, double* sums) {
    linear_rows(rows, static_cast<float>(factor), sums);
  });
}

TokenPass sapo_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                    const at::Tensor& old_log_probs, const at::Tensor& advantages,
                    const SapoOptions& options) {
  const SapoNumbers numbers{limit_of(options.log_ratio_clamp),
                            static_cast<float>(options.tau_positive),
                            static_cast<float>(options.tau_negative)};
  return passed(mask, {log_probs, old_log_probs, advantages},
                [&](const Rows& rows, double* sums) { sapo_rows(rows, numbers, sums); });
}

TokenPass cross_entropy_pass(const at::Tensor& mask, const at::Tensor& values,
                             const at::Tensor& labels) {
  return passed(mask, {values, labels},
                [](const Rows& rows, double* sums) { cross_entropy_rows(rows, sums); });
}

TokenPass covariance_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                          const at::Tensor& old_log_probs, const at::Tensor& advantages, double low,
                          double high) {
  const auto mean = [&](const at::Tensor& x) { return masked_mean(x, mask).item<float>(); };
  const ClipNumbers numbers{kInfinity,
                            static_cast<float>(1 - low),
                            static_cast<float>(1 + high),
                            kInfinity,
                            kInfinity,
                            mean(advantages),
                            mean(log_probs)};
  at::Tensor covariance = at::empty(mask.sizes(), at::kFloat);
  TokenPass pass =
      passed(mask, {log_probs, old_log_probs, advantages}, [&](const Rows& rows, double* sums) {
        Rows all = rows;
        all.covariance = covariance.data_ptr<float>();
        clip_rows(all, numbers, sums);
      });
  pass.covariance = std::move(covariance);
  return pass;
}

at::Tensor row_sums(const at::Tensor& mask, const at::Tensor& x) {
  if (!fits_token_pass(mask, {x})) return on_mask(mask, x).sum(-1);
  const GivenRows given(mask, {x});
  const at::Tensor sums = summed_by_row(given.rows, mask.size(0), sum_rows)[0].to(at::kFloat);
  return SumsOfRows::apply(x, given.mask, sums);
}

SignedSums signed_sums(const at::Tensor& mask, const at::Tensor& x, const at::Tensor& old,
                       const at::Tensor& a) {
  const GivenRows given(mask, {x, old, a});
  auto sums = summed_by_row<5>(given.rows, mask.size(0), signed_rows);
  for (at::Tensor& sum : sums) sum = sum.to(at::kFloat);
  return {SumsOfRows::apply(x, given.mask, sums[0]), sums[1], sums[2], sums[3], sums[4]};
}

std::array<at::Tensor, 3> ratio_sums(const at::Tensor& mask, const at::Tensor& x,
                                     const at::Tensor& old, const at::Tensor& a, double limit) {
  const GivenRows given(mask, {x, old, a});
  return summed_by_row(given.rows, mask.size(0), [limit](const Rows& row, double* sums) {
    ratio_rows(row, static_cast<float>(limit), sums);
  });
}

OneSidedSums one_sided_sums(const at::Tensor& mask, const at::Tensor& x, const at::Tensor& old,
                            const at::Tensor& a, double low, double high) {
  const GivenRows given(mask, {x, old, a});
  at::Tensor moves = at::empty(mask.sizes(), at::kFloat);
  Rows rows = given.rows;
  rows.derivative = moves.data_ptr<float>();
  const OneSidedNumbers numbers{static_cast<float>(low), static_cast<float>(high)};
  const auto sums = summed_by_row<5>(
      rows, mask.size(0), [&](const Rows& row, double* out) { one_sided_rows(row, numbers, out); });
  const auto share = [tokens = token_count(given.mask).clamp_min(1)](const at::Tensor& sum) {
    return (sum.sum() / tokens).to(at::kFloat);
  };
  return {with_derivative(sums[0].to(at::kFloat), x, moves), sums[1].to(at::kFloat), share(sums[2]),
          share(sums[3]), share(-sums[4])};
}

bool fits_guided_sums(std::initializer_list<at::Tensor> inputs) {
  return std::all_of(inputs.begin(), inputs.end(), [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2 &&
           x.sizes() == inputs.begin()->sizes();
  });
}

at::Tensor guided_sums(const at::Tensor& x, const at::Tensor& reference, const at::Tensor& guide,
                       double beta, double scale) {
  const at::Tensor policy = x.detach().contiguous(), r = reference.contiguous(),
                   g = guide.contiguous();
  const at::Tensor everywhere = at::ones({std::max<std::int64_t>(1, x.size(1))}, at::kBool);
  at::Tensor derivative = at::empty(x.sizes(), at::kFloat);
  const GuidedNumbers numbers{static_cast<float>(beta), static_cast<float>(scale)};
  Rows rows{nullptr,
            {policy.data_ptr<float>(), r.data_ptr<float>(), g.data_ptr<float>()},
            nullptr,
            derivative.data_ptr<float>(),
            x.numel()};
  const bool* const all = everywhere.data_ptr<bool>();
  const at::Tensor sums = summed_by_row(rows, x.size(0),
                                        [&](Rows row, double* out) {
                                          row.mask = all;  // the same for each row
                                          guided_rows(row, numbers, out);
                                        })[0]
                              .to(at::kFloat);
  return with_derivative(sums, x, derivative);
}

at::Tensor differentiable(const at::Tensor& input, const TokenPass& pass) {
  return with_derivative(pass.value, input, pass.derivative);
}

}  // namespace rewardloom
