// Rewards, answers and fired nodes for tests of reward nodes.
#pragma once
#include <torch/types.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/nodes/small_tensors.h"

namespace rewardloom::testing {

inline std::vector<double> list(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kDouble).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

inline bool near(double a, double b, double tolerance = 1e-9) {
  return std::abs(a - b) <= tolerance * (1 + std::abs(b));
}

inline Rewards rewards_of(const std::vector<double>& totals,
                          const std::vector<std::int64_t>& group = {},
                          const std::vector<std::int64_t>& absent = {}) {
  Rewards r;
  r.total = doubles(totals);
  if (!group.empty()) r.group = ids(group);
  if (!absent.empty()) r.absent = flags(absent);
  return r;
}

inline Completions answers_of(const std::vector<std::string>& text,
                              const std::vector<std::string>& reference = {}) {
  Completions c;
  const auto rows = static_cast<std::int64_t>(text.size());
  c.tokens = at::zeros({rows, 1}, at::kLong);
  c.kinds = at::full({rows, 1}, 2, at::kChar);
  c.group = at::arange(rows, at::kLong).div(2, "floor").to(at::kLong);
  c.text = text;
  c.reference = reference;
  return c;
}

/// A node on answers and true answers, failed rows noted.
inline Bench judged(const std::string& type, const Json& params,
                    const std::vector<std::string>& text,
                    const std::vector<std::string>& reference) {
  Bench bench(type, params);
  bench.context.skip_rows = true;
  bench.connect("completions", {Value::of(answers_of(text, reference))});
  bench.fire();
  return bench;
}

inline std::vector<double> totals(const Bench& bench, const char* port = "rewards") {
  return list(bench.out<Rewards>(port).total);
}

}  // namespace rewardloom::testing
