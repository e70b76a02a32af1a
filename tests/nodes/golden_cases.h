// The golden cases: what reference code gave for inputs of ours.
#pragma once
#include <fmt/format.h>
#include <torch/types.h>

#include <QDir>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "engine/core/package.h"

namespace rewardloom::testing {

/// One case; the format is described in shared/golden/README.md.
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
inline QString golden_folder() {
  const QString folder = QStringLiteral(REWARDLOOM_SOURCE_DIR "/../shared/golden");
  return QDir(folder).exists() ? folder : QString();
}

template <class T>
at::Tensor numbers(const Json& data, const std::vector<std::int64_t>& shape, at::ScalarType type) {
  std::vector<T> values;
  for (const Json& item : data) values.push_back(item.get<T>());
  return at::tensor(at::ArrayRef<T>(values), at::dtype(type)).reshape(shape);
}

inline void add_value(Package& package, const std::string& name, const Json& json) {
  const std::string dtype = json.at("dtype");
  const auto shape = json.at("shape").get<std::vector<std::int64_t>>();
  const Json& data = json.at("data");
  if (dtype == "text") {
    package.meta[name] = data;
  } else if (dtype == "i64") {
    package.tensors[name] = numbers<std::int64_t>(data, shape, at::kLong);
  } else if (dtype == "bool") {
    Json bits = Json::array();
    for (const Json& item : data) {
      bits.push_back(item.is_boolean() ? std::int64_t{item.get<bool>()} : item.get<std::int64_t>());
    }
    package.tensors[name] = numbers<std::int64_t>(bits, shape, at::kLong).to(at::kBool);
  } else {
    package.tensors[name] =
        numbers<double>(data, shape, at::kDouble).to(dtype == "f32" ? at::kFloat : at::kDouble);
  }
}

inline std::vector<GoldenCase> read_golden(const QString& path) {
  std::ifstream file(path.toStdString());
  const Json json = Json::parse(file);
  std::vector<GoldenCase> out;
  for (const Json& item : json.at("cases")) {
    GoldenCase c;
    c.node = json.at("node");
    c.name = item.at("name");
    c.params = item.value("params", Json::object());
    c.tolerance = item.at("tolerance");
    c.gradient_of = item.value("gradient_of", "loss");
    for (const auto& [name, tensor] : item.at("inputs").items()) add_value(c.inputs, name, tensor);
    for (const auto& [name, tensor] : item.at("outputs").items())
      add_value(c.outputs, name, tensor);
    Package gradients;
    if (item.contains("gradients")) {
      for (const auto& [name, tensor] : item["gradients"].items()) {
        add_value(gradients, name, tensor);
      }
    }
    c.gradients = gradients.tensors;
    out.push_back(std::move(c));
  }
  return out;
}

/// How `got` differs from `want` (|got - want| <= tolerance * (1 + |want|); integers and booleans
/// exactly), or "".
inline std::string difference(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  if (!got.defined()) return "nothing came out";
  if (got.sizes() != want.sizes()) {
    return c10::str("shape ", got.sizes(), " instead of ", want.sizes());
  }
  if (!at::isFloatingType(want.scalar_type())) {
    return got.to(at::kLong).equal(want.to(at::kLong)) ? ""
                                                       : c10::str("got ", got, ", want ", want);
  }
  const at::Tensor g = got.to(at::kDouble);
  const at::Tensor w = want.to(at::kDouble);
  const at::Tensor excess = (g - w).abs() - tolerance * (1 + w.abs());
  if (excess.numel() == 0 || (excess <= 0).all().item<bool>()) return "";
  const std::int64_t at = excess.flatten().argmax().item<std::int64_t>();
  return fmt::format("element {}: got {:.12g}, want {:.12g}", at, g.flatten()[at].item<double>(),
                     w.flatten()[at].item<double>());
}

}  // namespace rewardloom::testing
