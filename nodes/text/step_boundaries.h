// Answers as steps: where each ends, and in which state it is judged.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace rewardloom {

struct StepBoundaries {
  at::Tensor end;    ///< [N,S] int64: column of the step's last token, -1 where there is no step
  at::Tensor index;  ///< [N,T] int64: the step that each of the answer's tokens is in, else -1
  std::int64_t without = 0;  ///< rows with tokens in which nothing ends a step: they are one step
};

/// A step ends with each token of `delimiter` and with its row. One of fewer than `min_tokens`
/// tokens joins the next; at the end of a row it joins the one before. mask, delimiter [N,T] bool.
StepBoundaries step_boundaries(const at::Tensor& mask, const at::Tensor& delimiter,
                               std::int64_t min_tokens);

/// In which column a value of states (text.values: column t is the state before token t) judges
/// each step: the one behind its last token; the last step of a row, behind which there is no
/// state, is judged before its last token, so without the end token. end [N,S], mask [N,T] -> [N,S]
/// int64, -1 where there is no step.
at::Tensor step_states(const at::Tensor& end, const at::Tensor& mask);

}  // namespace rewardloom
