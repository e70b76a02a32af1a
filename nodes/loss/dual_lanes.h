// Sixteen numbers at a time with their derivatives by K inputs (forward mode). The names are those
// of the operators on tensors: a formula written as a template runs on both. Where a value or its
// slope is not finite, all K derivatives of that row may be no numbers (0 times infinity), also by
// an input that does not enter; rows never touch each other.
#pragma once
#include "nodes/text/vector_math.h"

namespace rewardloom {

template <int K>
struct Dual {
  vector_math::Floats value;
  vector_math::Floats by[K];
};

namespace dual_lanes {

using vector_math::fill;
using vector_math::Floats;
using vector_math::Integers;
using vector_math::magnitude;

REWARDLOOM_INLINE Floats chosen(const Integers& truth, const Floats& yes, const Floats& no) {
  return truth ? yes : no;
}
REWARDLOOM_INLINE float single(double x) { return static_cast<float>(x); }

/// f(x) by the chain rule, from its value and its slope at x.
template <int K>
REWARDLOOM_INLINE Dual<K> chained(const Dual<K>& x, const Floats& value, const Floats& slope) {
  Dual<K> out{value, {}};
  for (int k = 0; k < K; ++k) out.by[k] = slope * x.by[k];
  return out;
}

/// f(x, y) by the chain rule.
template <int K>
REWARDLOOM_INLINE Dual<K> chained(const Dual<K>& x, const Dual<K>& y, const Floats& value,
                                  const Floats& by_x, const Floats& by_y) {
  Dual<K> out{value, {}};
  for (int k = 0; k < K; ++k) out.by[k] = by_x * x.by[k] + by_y * y.by[k];
  return out;
}

}  // namespace dual_lanes

/// The trained input `which` itself.
template <int K>
REWARDLOOM_INLINE Dual<K> trained(const vector_math::Floats& value, int which) {
  Dual<K> out{value, {}};
  out.by[which] = vector_math::fill(1.0f);
  return out;
}

template <int K>
REWARDLOOM_INLINE Dual<K> operator-(const Dual<K>& x) {
  return dual_lanes::chained(x, -x.value, vector_math::fill(-1.0f));
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator+(const Dual<K>& x, const Dual<K>& y) {
  Dual<K> out{x.value + y.value, {}};
  for (int k = 0; k < K; ++k) out.by[k] = x.by[k] + y.by[k];
  return out;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator-(const Dual<K>& x, const Dual<K>& y) {
  Dual<K> out{x.value - y.value, {}};
  for (int k = 0; k < K; ++k) out.by[k] = x.by[k] - y.by[k];
  return out;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator*(const Dual<K>& x, const Dual<K>& y) {
  return dual_lanes::chained(x, y, x.value * y.value, y.value, x.value);
}

template <int K>
REWARDLOOM_INLINE Dual<K> operator+(Dual<K> x, const vector_math::Floats& c) {
  x.value += c;
  return x;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator-(Dual<K> x, const vector_math::Floats& c) {
  x.value -= c;
  return x;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator-(const vector_math::Floats& c, const Dual<K>& x) {
  return -x + c;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator*(const Dual<K>& x, const vector_math::Floats& c) {
  return dual_lanes::chained(x, x.value * c, c);
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator*(const vector_math::Floats& c, const Dual<K>& x) {
  return x * c;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator/(const Dual<K>& x, const vector_math::Floats& c) {
  return dual_lanes::chained(x, x.value / c, 1.0f / c);
}

template <int K>
REWARDLOOM_INLINE Dual<K> operator+(const Dual<K>& x, double c) {
  return x + vector_math::fill(dual_lanes::single(c));
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator+(double c, const Dual<K>& x) {
  return x + c;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator-(const Dual<K>& x, double c) {
  return x - vector_math::fill(dual_lanes::single(c));
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator-(double c, const Dual<K>& x) {
  return vector_math::fill(dual_lanes::single(c)) - x;
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator*(double c, const Dual<K>& x) {
  return x * vector_math::fill(dual_lanes::single(c));
}
template <int K>
REWARDLOOM_INLINE Dual<K> operator/(const Dual<K>& x, double c) {
  return x / vector_math::fill(dual_lanes::single(c));
}

template <int K>
REWARDLOOM_INLINE Dual<K> where(const vector_math::Integers& truth, const Dual<K>& yes,
                                const Dual<K>& no) {
  Dual<K> out{dual_lanes::chosen(truth, yes.value, no.value), {}};
  for (int k = 0; k < K; ++k) out.by[k] = dual_lanes::chosen(truth, yes.by[k], no.by[k]);
  return out;
}

template <int K>
REWARDLOOM_INLINE Dual<K> square(const Dual<K>& x) {
  return dual_lanes::chained(x, x.value * x.value, 2.0f * x.value);
}
template <int K>
REWARDLOOM_INLINE Dual<K> relu(const Dual<K>& x) {
  const vector_math::Floats zero{};
  return where(x.value <= zero, Dual<K>{}, x);  // what is no number stays none
}
template <int K>
REWARDLOOM_INLINE Dual<K> log(const Dual<K>& x) {
  return dual_lanes::chained(x, vector_math::logarithm(x.value), 1.0f / x.value);
}
template <int K>
REWARDLOOM_INLINE Dual<K> sigmoid(const Dual<K>& x) {
  using namespace dual_lanes;
  const Floats e = vector_math::exponential(-magnitude(x.value));
  const Floats high = 1.0f / (1.0f + e), low = e * high;
  return chained(x, chosen(x.value >= Floats{}, high, low), high * low);
}
template <int K>
REWARDLOOM_INLINE Dual<K> log_sigmoid(const Dual<K>& x) {
  using namespace dual_lanes;
  const Floats e = vector_math::exponential(-magnitude(x.value));
  const Floats high = 1.0f / (1.0f + e);
  const Floats low = chosen(x.value < Floats{}, x.value, Floats{});
  return chained(x, low - vector_math::log_above_one(e),
                 chosen(x.value >= Floats{}, e * high, high));
}
template <int K>
REWARDLOOM_INLINE Dual<K> bounded_exp(const Dual<K>& x) {
  using namespace dual_lanes;
  const Integers beyond = x.value > fill(80.0f);
  const Floats value = vector_math::exponential(chosen(beyond, fill(80.0f), x.value));
  return chained(x, value, chosen(beyond, Floats{}, value));
}
template <int K>
REWARDLOOM_INLINE Dual<K> log1mexp(const Dual<K>& x) {
  using namespace dual_lanes;
  constexpr float spacing = 1.1920929e-7f;
  const Integers beyond = x.value > fill(-spacing);
  const Floats below = chosen(beyond, fill(-spacing), x.value);
  const Floats e = vector_math::exponential(below);
  // 1 - e^x, by its series where the difference loses digits.
  Floats series = fill(1.0f / 362880);
  series = series * below + 1.0f / 40320;
  series = series * below + 1.0f / 5040;
  series = series * below + 1.0f / 720;
  series = series * below + 1.0f / 120;
  series = series * below + 1.0f / 24;
  series = series * below + 1.0f / 6;
  series = series * below + 0.5f;
  series = series * below + 1.0f;
  const Floats rest = chosen(below > fill(-0.693147180f), -below * series, 1.0f - e);
  const Floats slope = chosen(beyond, Floats{}, -e / rest);
  return chained(x, vector_math::logarithm(rest), slope);
}

/// -(1 - smoothing) log sigmoid(x) - smoothing log sigmoid(-x).
template <int K>
REWARDLOOM_INLINE Dual<K> logistic_loss(const Dual<K>& x, double smoothing = 0) {
  if (smoothing == 0) return -log_sigmoid(x);
  return (smoothing - 1) * log_sigmoid(x) - smoothing * log_sigmoid(-x);
}

}  // namespace rewardloom
