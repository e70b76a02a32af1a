// Small batches for losses, and what their evaluation gives.
#pragma once
#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/core/problem.h"
#include "engine/run/evaluate.h"

namespace rewardloom::testing {

inline double loss_of(const EvaluateResult& result) {
  return result.outputs.tensors.at("loss").item<double>();
}
inline at::Tensor gradient_of(const EvaluateResult& result, const std::string& name) {
  return result.outputs.tensors.at(name + ".grad");
}

inline std::string code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem().code;
  }
  return "";
}

inline at::Tensor numbers(std::vector<double> values, std::vector<std::int64_t> shape = {}) {
  if (shape.empty()) shape = {static_cast<std::int64_t>(values.size())};
  return at::tensor(values, at::kDouble).reshape(shape);
}
inline at::Tensor integers(std::vector<std::int64_t> values) {
  return at::tensor(values, at::kLong);
}
inline at::Tensor truths(std::vector<std::int64_t> values) {
  return integers(std::move(values)).to(at::kBool);
}

inline Package package(const std::map<std::string, at::Tensor>& tensors) {
  Package out;
  out.tensors.insert(tensors.begin(), tensors.end());
  return out;
}

}  // namespace rewardloom::testing
