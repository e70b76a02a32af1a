#include "nodes/shape/squash.h"

#include <algorithm>
#include <cstring>

#include "nodes/text/vector_math.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kWidth = 8;
typedef double Doubles __attribute__((vector_size(64)));
typedef std::int64_t Longs __attribute__((vector_size(64)));

REWARDLOOM_INLINE Doubles doubles_at(const double* p) {
  Doubles v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
REWARDLOOM_INLINE void put_doubles(double* p, const Doubles& v) { std::memcpy(p, &v, sizeof v); }
REWARDLOOM_INLINE Doubles all_of(double x) { return Doubles{} + x; }

constexpr Longs kSign = Longs{} + std::int64_t{-0x7fffffffffffffff - 1};
REWARDLOOM_INLINE Doubles sizes_of(const Doubles& x) {
  return __builtin_bit_cast(Doubles, __builtin_bit_cast(Longs, x) & ~kSign);
}
REWARDLOOM_INLINE Doubles with_sign_of(const Doubles& x, const Doubles& sign) {
  return __builtin_bit_cast(
      Doubles, __builtin_bit_cast(Longs, x) | (__builtin_bit_cast(Longs, sign) & kSign));
}

/// e^x = power (1 + rest), of -708 <= x <= 0.
struct Exponential {
  Doubles power, rest;
};

/// x = n ln 2 + r with |r| <= ln 2 / 2: power is 2^n, rest the series of e^r - 1 to the thirteenth
/// power.
REWARDLOOM_INLINE Exponential falling_exponential(const Doubles& x) {
  const Doubles shift = all_of(6755399441055744.0);  // 1.5 * 2^52: adding it rounds to an integer
  const Doubles rounded = x * 1.4426950408889634 + shift;
  const Doubles n = rounded - shift;
  Doubles r = x - n * 6.93147180369123816490e-01;
  r = r - n * 1.90821492927058770002e-10;
  Doubles p = all_of(1.0 / 6227020800.0);
  p = p * r + 1.0 / 479001600.0;
  p = p * r + 1.0 / 39916800.0;
  p = p * r + 1.0 / 3628800.0;
  p = p * r + 1.0 / 362880.0;
  p = p * r + 1.0 / 40320.0;
  p = p * r + 1.0 / 5040.0;
  p = p * r + 1.0 / 720.0;
  p = p * r + 1.0 / 120.0;
  p = p * r + 1.0 / 24.0;
  p = p * r + 1.0 / 6.0;
  p = p * r + 0.5;
  p = p * r + 1.0;
  // The lowest bits of `rounded` are n; shifted into the exponent they make 2^n.
  const Longs power = (__builtin_bit_cast(Longs, rounded) + 1023) << 52;
  return {__builtin_bit_cast(Doubles, power), p * r};
}

constexpr double kLeast = -708;

REWARDLOOM_INLINE Doubles logistic(const Doubles& x) {
  const Doubles least = all_of(kLeast), down = -sizes_of(x);
  const Exponential parts = falling_exponential(down < least ? least : down);
  const Doubles e = parts.power * (1.0 + parts.rest);
  const Doubles above = 1.0 / (1.0 + e);
  const Doubles below = x < least ? Doubles{} : e * above;
  return x >= Doubles{} ? above : below;
}

/// With m = e^(-2|x|) - 1, taken without cancellation: -m / (2 + m), and the sign of x.
REWARDLOOM_INLINE Doubles hyperbolic_tangent(const Doubles& x) {
  const Doubles least = all_of(kLeast), down = -2.0 * sizes_of(x);
  const Exponential parts = falling_exponential(down < least ? least : down);
  const Doubles m = parts.power * parts.rest + (parts.power - 1.0);
  return with_sign_of(-m / (2.0 + m), x);
}

REWARDLOOM_INLINE void put_some(double* to, const Doubles& v, std::int64_t count) {
  if (count == kWidth) return put_doubles(to, v);
  for (std::int64_t j = 0; j < count; ++j) to[j] = v[j];
}

/// f(x) for eight numbers at a time; the last may be fewer. `change` may be null.
template <class F>
REWARDLOOM_INLINE void squash(const double* x, double* out, double* change, std::int64_t count,
                              const F& f) {
  for (std::int64_t i = 0; i < count; i += kWidth) {
    const std::int64_t n = std::min(kWidth, count - i);
    double rest[kWidth] = {};
    if (n < kWidth) std::copy(x + i, x + count, rest);
    const Doubles v = doubles_at(n < kWidth ? rest : x + i);
    const Doubles y = f(v);
    put_some(out + i, y, n);
    if (change != nullptr) put_some(change + i, y - v, n);
  }
}

}  // namespace

REWARDLOOM_VECTORISED
void sigmoid_of(double* x, std::int64_t count) {
  squash(
      x, x, nullptr, count,
      [](const Doubles& v) __attribute__((always_inline)) { return logistic(v); });
}

REWARDLOOM_VECTORISED
void tanh_of(double* x, std::int64_t count) {
  squash(
      x, x, nullptr, count,
      [](const Doubles& v) __attribute__((always_inline)) { return hyperbolic_tangent(v); });
}

REWARDLOOM_VECTORISED
void sigmoid_of_rewards(const double* rewards, double k, double* shaped, double* change,
                        std::int64_t count) {
  squash(
      rewards, shaped, change,
      count, [k](const Doubles& v) __attribute__((always_inline)) { return logistic(v * k); });
}

REWARDLOOM_VECTORISED
void tanh_of_rewards(const double* rewards, double* shaped, double* change, std::int64_t count) {
  squash(
      rewards, shaped, change, count,
      [](const Doubles& v) __attribute__((always_inline)) { return hyperbolic_tangent(v); });
}

}  // namespace rewardloom
