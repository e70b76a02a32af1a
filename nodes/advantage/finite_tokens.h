// Numbers per token that are none: found by a look at the result, named by the input they came in.
#pragma once
#include <ATen/core/Tensor.h>

#include <initializer_list>

#include "nodes/advantage/episodes.h"

namespace rewardloom {

/// An input [N,T] and which of its tokens enter the result.
struct NamedTokens {
  const char* name;
  at::Tensor values;
  at::Tensor where;          ///< [N,T] bool, or undefined: all
  at::Tensor left_out = {};  ///< [N,T] bool, or undefined: none
};

/// Failure `not-finite` naming input, row and token of the first number that is none (a NaN before
/// an infinity), if `result` holds anything that is not finite. Costs one sum where all is well;
/// what is finite but overflows in the result is let through.
void require_finite_tokens(const at::Tensor& result, std::initializer_list<NamedTokens> inputs);

/// The values [N,T] of each row's first token in the mask (undefined: of all): [N,1], 0 where there
/// is none. Where what is no number passes on to all tokens before it, they show it, for a fraction
/// of a look at all.
at::Tensor row_starts(const at::Tensor& values, const at::Tensor& mask);

/// As much of `result` as shows a fault in a recurrence that runs backward over each row: all where
/// episodes end inside rows.
inline at::Tensor faults_of_rows(const at::Tensor& result, const Episodes& episodes) {
  const bool ends = episodes.done.defined() || episodes.terminated.defined();
  return ends ? result : row_starts(result, episodes.mask);
}

/// The steps behind which no value is looked at: [N,T], or undefined.
inline const at::Tensor& ends_of(const Episodes& episodes) {
  return episodes.terminated.defined() ? episodes.terminated : episodes.done;
}

}  // namespace rewardloom
