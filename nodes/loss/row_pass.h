// Losses of rows in one pass over float32 numbers on the CPU: the templates of the losses, run on
// dual numbers. They give what the same templates give on tensors, which serve every other device
// and type.
#pragma once
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <initializer_list>

#include "nodes/loss/dual_lanes.h"

namespace rewardloom {

/// Where a pass reads and writes: `count` numbers in each place, any of which may be null.
struct PassPlaces {
  static constexpr int kInputs = 6, kTrained = 2, kLogged = 2, kSums = 3;
  std::array<const float*, kInputs> in{};
  const bool* flag = nullptr;
  float* loss = nullptr;
  std::array<float*, kTrained> derivative{};
  std::array<float*, kLogged> logged{};
  std::int64_t count = 0;
};

/// What a formula gives for sixteen rows: their losses, numbers that are kept for each, and numbers
/// whose sums are.
template <int K>
struct PassTerms {
  Dual<K> loss;
  vector_math::Floats logged[PassPlaces::kLogged] = {};
  vector_math::Floats sums[PassPlaces::kSums] = {};
};

/// Of all rows: the sum of the losses and of the summed terms.
struct PassSums {
  double loss = 0;
  std::array<double, PassPlaces::kSums> of{};
};

/// Sixteen rows of the inputs; `flag` has all bits set where it holds.
struct PassLanes {
  vector_math::Floats in[PassPlaces::kInputs] = {};
  vector_math::Integers flag = {};
};

namespace row_pass {

using vector_math::Floats;
using vector_math::Integers;
using vector_math::lanes;

REWARDLOOM_INLINE PassLanes read(const PassPlaces& places, std::int64_t first, std::int64_t n) {
  PassLanes rows;
  for (int k = 0; k < PassPlaces::kInputs; ++k) {
    if (places.in[k] != nullptr) rows.in[k] = vector_math::load_up_to(places.in[k] + first, n);
  }
  if (places.flag == nullptr) return rows;
  typedef std::uint8_t Bytes __attribute__((vector_size(16)));
  Bytes bytes{};
  std::memcpy(&bytes, places.flag + first, static_cast<std::size_t>(n));
  rows.flag = -__builtin_convertvector(bytes, Integers);
  return rows;
}

REWARDLOOM_INLINE void write(float* to, std::int64_t first, std::int64_t n, const Floats& x) {
  if (to != nullptr) vector_math::store_up_to(to + first, x, n);
}

REWARDLOOM_INLINE Integers first_lanes(std::int64_t n) {
  Integers there{};
  for (std::int64_t i = 0; i < n; ++i) there[i] = -1;
  return there;
}

}  // namespace row_pass

/// Calls formula(PassLanes) -> PassTerms<K> for sixteen rows at a time. To be called from a
/// function that is REWARDLOOM_VECTORISED.
template <int K, class F>
REWARDLOOM_INLINE PassSums each_row(const PassPlaces& places, const F& formula) {
  using namespace row_pass;
  constexpr std::int64_t kBlock = 64 * lanes;  // sums leave the lanes often enough to stay exact
  PassSums out;
  for (std::int64_t first = 0; first < places.count; first += kBlock) {
    const std::int64_t last = std::min(places.count, first + kBlock);
    Floats loss{}, sums[PassPlaces::kSums] = {};
    for (std::int64_t t = first; t < last; t += lanes) {
      const std::int64_t n = std::min(lanes, last - t);
      PassTerms<K> terms = formula(read(places, t, n));
      write(places.loss, t, n, terms.loss.value);
      for (int k = 0; k < K; ++k) write(places.derivative[k], t, n, terms.loss.by[k]);
      for (int k = 0; k < PassPlaces::kLogged; ++k) write(places.logged[k], t, n, terms.logged[k]);
      if (n < lanes) {
        const Integers there = first_lanes(n);
        terms.loss.value = there ? terms.loss.value : Floats{};
        for (Floats& x : terms.sums) x = there ? x : Floats{};
      }
      loss += terms.loss.value;
      for (int k = 0; k < PassPlaces::kSums; ++k) sums[k] += terms.sums[k];
    }
    out.loss += static_cast<double>(vector_math::sum(loss));
    for (int k = 0; k < PassPlaces::kSums; ++k) {
      out.of[k] += static_cast<double>(vector_math::sum(sums[k]));
    }
  }
  return out;
}

/// A pass over rows: its inputs, of which the first one or two are trained, and what it gave.
class LossPass {
 public:
  struct Wanted {
    int trained = 1;
    int logged = 0;
    bool losses = false;
  };
  /// All inputs of one size (undefined ones are left out); flag bool or undefined.
  LossPass(std::initializer_list<at::Tensor> inputs, const at::Tensor& flag, const Wanted& wanted);

  const PassPlaces& places() const { return places_; }
  void set(const PassSums& sums) { sums_ = sums; }

  /// The sum of the losses [], with gradient by the trained inputs.
  at::Tensor sum() const;
  /// The sum of a summed term, or its mean over the rows; 0 of none.
  double sum_of(int term) const { return sums_.of[static_cast<std::size_t>(term)]; }
  double mean_of(int term) const { return sum_of(term) / std::max<double>(1, rows()); }
  double sum_of_losses() const { return sums_.loss; }
  at::Tensor losses() const { return losses_; }
  /// Of the sum of the losses by a trained input; undefined where that does not move.
  at::Tensor derivative(int which) const { return derivatives_[static_cast<std::size_t>(which)]; }
  at::Tensor logged(int which) const { return logged_[static_cast<std::size_t>(which)]; }
  double rows() const { return static_cast<double>(places_.count); }

 private:
  std::array<at::Tensor, PassPlaces::kInputs> inputs_;
  at::Tensor flag_, losses_;
  std::array<at::Tensor, PassPlaces::kTrained> trained_, derivatives_;
  std::array<at::Tensor, PassPlaces::kLogged> logged_;
  PassPlaces places_;
  PassSums sums_;
};

/// Whether a pass can take these inputs: float32 on the CPU, all of one size, as a flag is. Those
/// that are undefined do not matter.
bool fits_row_pass(std::initializer_list<at::Tensor> inputs, const at::Tensor& flag = {});

/// A scalar that is logged: [] float32.
at::Tensor logged_number(double x);

}  // namespace rewardloom
