// Returns of tokens against those of other answers to the same prompt.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class ReturnBaseline { same_step, whole };
constexpr auto choices(ReturnBaseline) {
  return std::to_array<Choice<ReturnBaseline>>({
      {ReturnBaseline::same_step, "same_step",
       "mean return of the group's answers from the beginning of the same step, where they have it"},
      {ReturnBaseline::whole, "whole", "mean return of the group's whole answers"},
  });
}

/// G_t - b: G_t the sum of rewards [N,T] from token t on, inside mask [N,T]; b the mean over the
/// rows of the same group [N], as `baseline` says. step_index [N,T] int64 (-1: none) is needed for
/// same_step. A row that is alone gets 0. -> [N,T]
at::Tensor group_returns(const at::Tensor& rewards, const at::Tensor& mask, const at::Tensor& group,
                         const at::Tensor& step_index, ReturnBaseline baseline);

}  // namespace rewardloom
