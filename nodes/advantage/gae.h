// Generalised advantage estimation (Schulman et al. 2016, arXiv:1506.02438).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"
#include "nodes/advantage/episodes.h"
#include "nodes/advantage/returns.h"

namespace rewardloom {

enum class MaskMode { skip, zero };
constexpr auto choices(MaskMode) {
  return std::to_array<Choice<MaskMode>>({
      {MaskMode::skip, "skip", "steps outside the mask are stepped over, as verl does"},
      {MaskMode::zero, "zero", "they count as steps with reward 0 and value 0, as OpenRLHF does"},
  });
}

struct GaeOptions {
  double gamma = 1.0;
  double lambda = 0.95;
  MaskMode mask_mode = MaskMode::skip;
};

/// A_t = delta_t + gamma lambda A_{t+1}, delta_t = r_t + gamma V(next) - V_t (equations 11 and 16);
/// returns A + V. values [N,T]; next_values [N,T] or undefined: the value of the next step, 0 after
/// the last. Ends of episodes cut the sum; a terminated step has no next value. Results [N,T] like
/// the rewards, 0 outside the mask. Failure `bad-shape`; `no-next-values` for a truncated step
/// without next_values.
AdvantagesAndReturns gae(const Episodes& episodes, const at::Tensor& values,
                         const at::Tensor& next_values, const GaeOptions& options,
                         const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
AdvantagesAndReturns gae_by_scan(const Episodes& episodes, const at::Tensor& values,
                                 const at::Tensor& next_values, const GaeOptions& options);

}  // namespace rewardloom
