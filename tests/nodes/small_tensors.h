// Tensors of a few numbers, failures by code, and values as a node gets them.
#pragma once
#include <ATen/core/Tensor.h>
#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "engine/core/package.h"
#include "engine/core/problem.h"
#include "engine/core/random.h"
#include "engine/run/evaluate.h"
#include "tests/nodes/node_bench.h"

namespace rewardloom::testing {

inline at::Tensor doubles(const std::vector<double>& values) {
  return at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
}
inline at::Tensor doubles(const std::vector<double>& values,
                          const std::vector<std::int64_t>& shape) {
  return doubles(values).reshape(shape);
}
inline at::Tensor ids(const std::vector<std::int64_t>& values) {
  return at::tensor(at::ArrayRef<std::int64_t>(values), at::dtype(at::kLong));
}
inline at::Tensor flags(const std::vector<std::int64_t>& values) {
  return ids(values).to(at::kBool);
}

/// Standard normal numbers of a fixed stream.
inline at::Tensor normals(std::uint64_t stream, const std::vector<std::int64_t>& shape) {
  Random random(RandomKey{11, stream, 0});
  const at::Tensor out = at::empty(shape, at::kDouble);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.data_ptr<double>()[i] = random.normal();
  return out;
}

/// A permutation of 0..count-1 of a fixed stream.
inline at::Tensor permutation(std::uint64_t stream, std::int64_t count) {
  return normals(stream + 1000, {count}).argsort();
}

inline Problem problem_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {};
}
inline std::string code_of(const std::function<void()>& action) { return problem_of(action).code; }

using Tensors = std::map<std::string, at::Tensor>;

/// One firing of a node on tensors by port name.
inline EvaluateResult fire(const std::string& type, const Json& params, const Tensors& inputs) {
  Package package;
  for (const auto& [name, tensor] : inputs) package.tensors[name] = tensor;
  return evaluate(all_nodes(), type, params, package);
}
/// The same on texts.
inline EvaluateResult fire_texts(const std::string& type, const Json& params, const Json& inputs) {
  Package package;
  package.meta = inputs;
  return evaluate(all_nodes(), type, params, package);
}
inline std::string failure(const std::string& type, const Json& params, const Tensors& inputs) {
  return code_of([&] { fire(type, params, inputs); });
}
inline double number(const EvaluateResult& result, const std::string& name) {
  if (result.outputs.meta.contains(name)) return result.outputs.meta[name].get<double>();
  return result.outputs.tensors.at(name).item<double>();
}
inline at::Tensor tensor(const EvaluateResult& result, const std::string& name) {
  return result.outputs.tensors.at(name);
}
inline bool alarmed(const EvaluateResult& result, const std::string& code) {
  for (const Problem& alarm : result.alarms) {
    if (alarm.code == code) return true;
  }
  return false;
}
inline bool close(double a, double b, double tolerance = 1e-12) {
  return std::abs(a - b) <= tolerance * (1 + std::abs(b));
}

}  // namespace rewardloom::testing
