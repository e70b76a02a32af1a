// Discounted sums of what follows a token.
#pragma once
#include <ATen/core/Tensor.h>

#include "nodes/advantage/token_rows.h"

namespace rewardloom {

/// Returns and what is left of them after a baseline, both [N,T], 0 outside the mask.
struct AdvantagesAndReturns {
  at::Tensor advantages;
  at::Tensor returns;
};

/// G_t = m_t r_t + gamma G_{t+1}. rewards [N,T], mask [N,T] bool -> [N,T] like rewards, 0 outside
/// the mask. The return passes over tokens outside the mask, which count as time steps without
/// reward. On the CPU one pass per row in double, elsewhere a scan over the whole tensor. Failure
/// `bad-shape`.
at::Tensor discounted_returns(const at::Tensor& rewards, const at::Tensor& mask, double gamma,
                              const ParallelCalls& parallel = {});
/// As above by operators on whole tensors: what runs on an accelerator.
at::Tensor discounted_returns_by_scan(const at::Tensor& rewards, const at::Tensor& mask,
                                      double gamma);

}  // namespace rewardloom
