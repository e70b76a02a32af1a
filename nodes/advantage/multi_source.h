// Advantages from process and outcome rewards together: PRIME (Cui et al. 2025, arXiv:2502.01456).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "nodes/advantage/returns.h"

namespace rewardloom {

enum class ProcessNormalise { none, batch_max };
constexpr auto choices(ProcessNormalise) {
  return std::to_array<Choice<ProcessNormalise>>({
      {ProcessNormalise::none, "none", "process rewards as they are"},
      {ProcessNormalise::batch_max, "batch_max",
       "divided by the batch's largest sum of what follows a token, sign aside, + 1e-6"},
  });
}

struct MultiSourceOptions {
  double gamma_process = 1.0;
  double gamma_outcome = 1.0;
  ProcessNormalise process_normalise = ProcessNormalise::none;
  bool whiten = true;
  double weight_process = 1.0;
  double weight_outcome = 1.0;
};

struct MultiSourceInputs {
  at::Tensor process;  ///< [N,T]
  at::Tensor outcome;  ///< [N]
  at::Tensor group;    ///< [N] int64
  at::Tensor absent;   ///< [N] bool or undefined: rows without outcome
  at::Tensor mask;     ///< [N,T] bool
};

/// For each source K/(K-1) r - (sum over the K rows of a group of their mean r)/(K-1), the outcome
/// standing on a row's last token; then discounted sums of what follows, added with the weights:
/// returns [N,T]. Advantages: the same, whitened (sample variance, 1e-8). A source that is constant
/// in a group, and a group of one, add exactly 0. Absent rows, and rows without tokens, are in no
/// group and 0. Failure `bad-shape`, `not-finite`.
AdvantagesAndReturns multi_source(const MultiSourceInputs& inputs,
                                  const MultiSourceOptions& options,
                                  const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
AdvantagesAndReturns multi_source_by_scan(const MultiSourceInputs& inputs,
                                          const MultiSourceOptions& options);

}  // namespace rewardloom
