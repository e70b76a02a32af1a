// Several rewards of the same rows as one.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class CombineOp { sum, min, mean, product, log_sigmoid_sum };
constexpr auto choices(CombineOp) {
  return std::to_array<Choice<CombineOp>>({
      {CombineOp::sum, "sum", "sum of the weighted components"},
      {CombineOp::min, "min", "the smallest weighted component"},
      {CombineOp::mean, "mean", "mean of the weighted components"},
      {CombineOp::product, "product", "product of the weighted components"},
      {CombineOp::log_sigmoid_sum, "log_sigmoid_sum",
       "sum of weight * log sigmoid(component - its reference) (Wang et al. 2024)"},
  });
}

/// components [N,K]; present [N,K] bool or undefined: what is not there does not enter; weights K
/// numbers or none (all 1); reference [K], for log_sigmoid_sum -> [N], computed in double.
at::Tensor combine_rewards(const at::Tensor& components, const at::Tensor& present,
                           const std::vector<double>& weights, const at::Tensor& reference,
                           CombineOp op);

}  // namespace rewardloom
