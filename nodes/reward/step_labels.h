// Labels of steps from what followed them.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class StepLabel { soft, hard };
constexpr auto choices(StepLabel) {
  return std::to_array<Choice<StepLabel>>({
      {StepLabel::soft, "soft", "the share of continuations that end right"},
      {StepLabel::hard, "hard", "1 if any of them ends right, else 0"},
  });
}

/// Labels [P] of prefixes from rewards [M] of continuations, prefix [M] int64 in 0 .. P-1, absent
/// [M] bool or undefined; right: reward >= threshold. NaN for a prefix without a scored
/// continuation.
at::Tensor step_labels(const at::Tensor& rewards, const at::Tensor& prefix,
                       const at::Tensor& absent, std::int64_t prefixes, StepLabel label,
                       double threshold);

}  // namespace rewardloom
