// What advantages over tokens share: masks, rows in pieces, the recurrence along a row.
#pragma once
#include <ATen/core/Tensor.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <type_traits>

#include "engine/core/port_types.h"
#include "engine/core/step.h"

namespace rewardloom {

/// Calls the function with 0..count-1, possibly several at once.
using ParallelCalls = std::function<void(std::size_t, const std::function<void(std::size_t)>&)>;

/// `step.parallel` as a value; valid while the step is.
inline ParallelCalls calls_of(Step& step) {
  return [&step](std::size_t count, const auto& call) { step.parallel(count, call); };
}

/// Calls work(first, last) for pieces of `rows` rows of `width` elements each, several at once if
/// `parallel` is there. The borders depend on the sizes alone.
void for_rows(std::int64_t rows, std::int64_t width, const ParallelCalls& parallel,
              const std::function<void(std::int64_t, std::int64_t)>& work);

/// x where `in`, else 0, whatever x is; by bits, so that loops over masks need no branch and can be
/// vectorised.
inline double kept(double x, bool in) {
  return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) & (0 - std::uint64_t{in}));
}
inline float kept(float x, bool in) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & (0 - std::uint32_t{in}));
}

/// How many of eight tokens are in a mask.
enum class Block { none, some, all };

/// Calls f(first token, Block) for each eight tokens of a row, and tail(t) for each token behind
/// the last eight. Masks are mostly long runs, so that most blocks need no look at single tokens.
template <class F, class G>
void for_blocks(const bool* mask, std::int64_t tokens, F&& f, G&& tail) {
  constexpr std::uint64_t kAll = 0x0101010101010101;
  std::int64_t t = 0;
  for (; t + 8 <= tokens; t += 8) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, mask + t, sizeof bits);
    f(t, bits == kAll ? Block::all : bits == 0 ? Block::none : Block::some);
  }
  for (; t < tokens; ++t) tail(t);
}

/// Sum of f(t) over the tokens of the mask, in eight lanes so that no addition waits for the one
/// before. f is called for tokens outside the mask too; what it gives there does not count.
template <class F>
double masked_sum(const bool* mask, std::int64_t tokens, F f) {
  double lanes[8] = {};
  const auto block = [&](std::int64_t t, Block kind) {
    if (kind == Block::none) return;
    if (kind == Block::all) {
      for (int j = 0; j < 8; ++j) lanes[j] += f(t + j);
      return;
    }
    for (int j = 0; j < 8; ++j) lanes[j] += kept(f(t + j), mask[t + j]);
  };
  for_blocks(mask, tokens, block, [&](std::int64_t t) { lanes[t & 7] += kept(f(t), mask[t]); });
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/// to[t] = f(t) for the tokens of the mask, 0 for the others. f is called for any token.
template <class T, class F>
void fill_masked(const bool* mask, std::int64_t tokens, T* to, F f) {
  const auto block = [&](std::int64_t t, Block kind) {
    if (kind == Block::none) {
      for (int j = 0; j < 8; ++j) to[t + j] = T{0};
    } else if (kind == Block::all) {
      for (int j = 0; j < 8; ++j) to[t + j] = f(t + j);
    } else {
      for (int j = 0; j < 8; ++j) to[t + j] = kept(static_cast<T>(f(t + j)), mask[t + j]);
    }
  };
  for_blocks(mask, tokens, block,
             [&](std::int64_t t) { to[t] = kept(static_cast<T>(f(t)), mask[t]); });
}

/// How many tokens of a row are in the mask.
std::int64_t count_tokens(const bool* mask, std::int64_t tokens);

/// The type in which tensors of these types meet: float or double.
at::ScalarType working_type(std::initializer_list<at::Tensor> tensors);

/// `tensor` in that type, contiguous; undefined stays undefined.
at::Tensor prepared(const at::Tensor& tensor, at::ScalarType type);

/// Failure `bad-shape` unless `tensor` is undefined or has `sizes`; `what` and `than` are the names
/// in the message.
void require_sizes(const char* what, const at::Tensor& tensor, const char* than,
                   at::IntArrayRef sizes);
/// Failure `bad-shape` unless `tensor` has two dimensions.
void require_matrix(const char* what, const at::Tensor& tensor);
/// Failure `bad-shape` unless `tensor` is [rows].
void require_vector(const char* what, const at::Tensor& tensor, std::int64_t rows);

/// mask [N,T] as contiguous bool, or undefined; Failure `bad-shape` if it has other sizes.
at::Tensor checked_mask(const at::Tensor& mask, const char* than, at::IntArrayRef sizes);

/// The row of a contiguous tensor, or null if there is no tensor.
template <class T>
T* row_of(const at::Tensor& tensor, std::int64_t row) {
  return tensor.defined() ? tensor.data_ptr<std::remove_const_t<T>>() + row * tensor.size(1)
                          : nullptr;
}

/// mask [N,T] bool -> [N] int64: tokens per row.
at::Tensor row_lengths(const at::Tensor& mask);

/// values [N] on the tokens of mask [N,T], 0 elsewhere -> [N,T] like values.
at::Tensor on_tokens(const at::Tensor& values, const at::Tensor& mask,
                     const ParallelCalls& parallel = {});

/// x_t = b_t + a_t x_{t+1} along the last dimension, nothing behind its end. a, b [N,T] -> [N,T],
/// in about log2 T steps over the whole tensor (Hillis and Steele 1986), so that an accelerator
/// needs no step per token.
at::Tensor reverse_scan(const at::Tensor& a, const at::Tensor& b);

/// The value of the next token in the mask, strictly after t; 0 where there is none. values, mask
/// [N,T] -> [N,T], by scan.
at::Tensor next_in_mask(const at::Tensor& values, const at::Tensor& mask);
/// Whether a token of the mask is its row's last. [N,T] bool, by scan.
at::Tensor last_in_mask(const at::Tensor& mask);

/// The mask that token rewards or log-probs carry, else that of the completions, else undefined.
at::Tensor given_mask(const at::Tensor& own, const Completions* completions);
/// As above; Failure `no-mask` where there is none.
at::Tensor needed_mask(const at::Tensor& own, const Completions* completions);

/// Advantages of the rows of token rewards.
Advantages advantages_of(at::Tensor values, const TokenRewards& from);

}  // namespace rewardloom
