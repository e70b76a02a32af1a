// Sixteen floats at a time, for code that is compiled once per instruction set.
#pragma once
#include <cstdint>
#include <limits>

// GCC warns that such vectors have no stable calling convention; they never leave an inline
// function.
#pragma GCC diagnostic ignored "-Wpsabi"

/// Compiles a function for AVX-512, for AVX2 and for the base line, and picks one when it is
/// loaded.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define REWARDLOOM_VECTORISED \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define REWARDLOOM_VECTORISED
#endif
#define REWARDLOOM_INLINE [[gnu::always_inline]] inline

namespace rewardloom::vector_math {

inline constexpr std::int64_t lanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef std::int32_t Integers __attribute__((vector_size(64)));
typedef Floats UnalignedFloats __attribute__((aligned(4), may_alias));

REWARDLOOM_INLINE Floats load(const float* p) {
  return *reinterpret_cast<const UnalignedFloats*>(p);
}
REWARDLOOM_INLINE void store(float* p, const Floats& v) {
  *reinterpret_cast<UnalignedFloats*>(p) = v;
}
REWARDLOOM_INLINE Floats fill(float x) { return Floats{} + x; }

/// The first `count` elements, `otherwise` in the rest.
REWARDLOOM_INLINE Floats load_some(const float* p, std::int64_t count, float otherwise) {
  Floats v = fill(otherwise);
  for (std::int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
REWARDLOOM_INLINE void store_some(float* p, const Floats& v, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) p[i] = v[i];
}

/// The same where mostly all are there; the rest is 0.
REWARDLOOM_INLINE Floats load_up_to(const float* p, std::int64_t count) {
  return count == lanes ? load(p) : load_some(p, count, 0.0f);
}
REWARDLOOM_INLINE void store_up_to(float* p, const Floats& v, std::int64_t count) {
  count == lanes ? store(p, v) : store_some(p, v, count);
}

/// Pairwise, in one fixed order.
REWARDLOOM_INLINE float sum(const Floats& v) {
  float part[lanes];
  store(part, v);
  for (std::int64_t width = lanes / 2; width > 0; width /= 2) {
    for (std::int64_t i = 0; i < width; ++i) part[i] += part[i + width];
  }
  return part[0];
}
REWARDLOOM_INLINE float maximum(const Floats& v) {
  float part[lanes];
  store(part, v);
  for (std::int64_t width = lanes / 2; width > 0; width /= 2) {
    for (std::int64_t i = 0; i < width; ++i) {
      part[i] = part[i] > part[i + width] ? part[i] : part[i + width];
    }
  }
  return part[0];
}
REWARDLOOM_INLINE Floats larger(const Floats& a, const Floats& b) { return a > b ? a : b; }
REWARDLOOM_INLINE Floats magnitude(const Floats& x) { return larger(x, -x); }
REWARDLOOM_INLINE Floats one_where(const Integers& truth) { return truth ? fill(1.0f) : Floats{}; }

/// e^x within 2 units in the last place; 0 below -87, the largest finite value's order above 88.
/// x = n ln 2 + r with |r| <= ln 2 / 2, and the series of e^r to the seventh power.
REWARDLOOM_INLINE Floats exponential(const Floats& x) {
  const Floats bounded = x < fill(-87.0f) ? fill(-87.0f) : (x > fill(88.0f) ? fill(88.0f) : x);
  const Floats shift = fill(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Floats n = (bounded * 1.44269504088896341f + shift) - shift;
  Floats r = bounded - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = fill(1.0f / 5040);
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const Integers bits = (__builtin_convertvector(n, Integers) + 127) << 23;
  const Floats result = p * __builtin_bit_cast(Floats, bits);
  return x < fill(-87.0f) ? Floats{} : result;
}

/// log(1 + e) for e in 0 .. 1, as 2 artanh(e / (2 + e)).
REWARDLOOM_INLINE Floats log_above_one(const Floats& e) {
  const Floats s = e / (2.0f + e), q = s * s, twice = 2.0f * s;
  Floats p = fill(1.0f / 13);
  p = p * q + 1.0f / 11;
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  return twice + twice * (p * q);
}

/// log x within 2 units in the last place; -infinity at 0 and below the least normal number, no
/// number below 0. x = m 2^n with m in sqrt(1/2) .. sqrt(2), log m = 2 artanh((m - 1) / (m + 1)).
REWARDLOOM_INLINE Floats logarithm(const Floats& x) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  constexpr std::int32_t root_of_half = 0x3f3504f3;
  const Integers n = (__builtin_bit_cast(Integers, x) - root_of_half) >> 23;
  const Floats m = __builtin_bit_cast(Floats, __builtin_bit_cast(Integers, x) - (n << 23));
  const Floats s = (m - 1.0f) / (m + 1.0f), q = s * s, twice = 2.0f * s;
  Floats p = fill(1.0f / 11);
  p = p * q + 1.0f / 9;
  p = p * q + 1.0f / 7;
  p = p * q + 1.0f / 5;
  p = p * q + 1.0f / 3;
  const Floats of_m = twice + twice * (p * q);
  const Floats exponent = __builtin_convertvector(n, Floats);
  const Floats result = (exponent * -2.12194440e-4f + of_m) + exponent * 0.693359375f;
  const Floats below =
      x < Floats{} ? fill(std::numeric_limits<float>::quiet_NaN()) : fill(-infinity);
  const Floats finite = x < fill(std::numeric_limits<float>::min()) ? below : result;
  return x < fill(infinity) ? finite : x;  // also what is no number
}

}  // namespace rewardloom::vector_math
