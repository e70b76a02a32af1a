// Golden cases: numbers that public reference code produced (format: shared/golden/README.md).
#pragma once
#include <ATen/core/Tensor.h>

#include <QString>
#include <map>
#include <string>
#include <vector>

#include "engine/core/package.h"

namespace rewardloom {

struct GoldenCase {
  std::string node;
  std::string name;
  Json params = Json::object();
  Package inputs;
  Package outputs;
  std::map<std::string, at::Tensor> gradients;
  std::string gradient_of = "loss";
  double tolerance = 1e-6;
};

/// The folder of golden cases; empty where it is not there.
QString golden_folder();
/// All cases of one file.
std::vector<GoldenCase> read_golden(const QString& path);
/// How `got` differs from `want` (|got - want| <= tolerance * (1 + |want|); integers, booleans exactly),
/// or "".
std::string difference(const at::Tensor& got, const at::Tensor& want, double tolerance);

}  // namespace rewardloom
