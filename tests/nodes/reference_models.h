// The small models of reference/architectures.py: their weights by formula, their golden numbers.
#pragma once
#include <ATen/Functions.h>

#include <QString>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "engine/core/problem.h"
#include "engine/core/random.h"
#include "engine/io/jsonl.h"
#include "nodes/text/decoder.h"
#include "nodes/text/lora.h"

namespace rewardloom::reference_models {

/// The code of the Failure, its text after it; empty where nothing is thrown.
template <class Call>
QString refusal(Call call) {
  try {
    call();
  } catch (const Failure& failure) {
    return QString::fromStdString(failure.problem().code + ": " + failure.what());
  }
  return {};
}

inline const ParallelCalls in_turn = [](std::size_t count, const auto& call) {
  for (std::size_t i = 0; i < count; ++i) call(i);
};

/// `weight` of architectures.py: exact in single precision.
inline at::Tensor reference_weight(const std::string& name, const std::vector<std::int64_t>& shape,
                                   double centre) {
  at::Tensor tensor = at::empty(shape);
  const std::uint64_t start = hash_name(name);
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    // mix(z, 0) is the finaliser of SplitMix64.
    const std::uint64_t z = mix(start + static_cast<std::uint64_t>(i), 0);
    const double unit = static_cast<double>(z >> 41) / 4194304.0 - 1.0;
    tensor.data_ptr<float>()[i] = static_cast<float>(centre + 0.25 * unit);
  }
  return tensor;
}

inline WeightMap reference_weights(const ModelConfig& config) {
  WeightMap weights;
  for (const auto& list : {weight_shapes(config), adapter_shapes(config)}) {
    for (const WeightShape& w : list) {
      const bool scale = w.shape.size() == 1 && w.name.ends_with(".weight");
      weights[w.name] = reference_weight(
          w.name, w.shape, scale && config.norm != NormKind::rms_plus_one ? 1.0 : 0.0);
    }
  }
  return weights;
}

inline const Json& goldens() {
  static const Json all = read_json(std::filesystem::path(REWARDLOOM_SOURCE_DIR) / "tests" /
                                    "nodes" / "data" / "architectures.json");
  return all;
}

inline Decoder decoder_of(const std::string& name) {
  const Json& golden = goldens().at(name);
  ModelConfig config = model_config(golden["config"]);
  if (golden.contains("lora")) {
    const Json& lora = golden["lora"];
    config = with_adapters(config, {lora["rank"], lora["alpha"], false, lora["targets"]});
  }
  return Decoder(config, reference_weights(config));
}

inline TokenSequences all_positions(std::vector<std::vector<std::int64_t>> tokens) {
  TokenSequences sequences{std::move(tokens), {}};
  for (const auto& row : sequences.tokens) {
    std::vector<std::int64_t> wanted(row.size());
    std::iota(wanted.begin(), wanted.end(), 0);
    sequences.wanted.push_back(std::move(wanted));
  }
  return sequences;
}

inline TokenSequences sequences_of(const std::string& name) {
  return all_positions(goldens().at(name)["ids"].get<std::vector<std::vector<std::int64_t>>>());
}

inline double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// cos(0), cos(1), ...: what the golden losses and gradients are weighed by.
inline at::Tensor cosines(const std::vector<std::int64_t>& shape) {
  std::int64_t count = 1;
  for (const std::int64_t size : shape) count *= size;
  return at::arange(count, at::kDouble).cos().view(shape);
}

inline at::Tensor golden_outputs(const std::string& name) {
  const auto values = goldens().at(name)["outputs"].get<std::vector<double>>();
  return at::tensor(at::ArrayRef<double>(values), at::TensorOptions().dtype(at::kDouble));
}

/// The largest relative fault of any gradient's norm and weighed sum against the golden ones; the
/// golden names must all be there.
inline double worst_gradient(const std::string& name, const WeightMap& gradients) {
  double worst = 0;
  for (const auto& [tensor, numbers] : goldens().at(name)["gradients"].items()) {
    const auto found = gradients.find(tensor);
    if (found == gradients.end()) continue;
    const at::Tensor g = found->second.to(at::kDouble);
    const double norm = numbers[0].get<double>(), along = numbers[1].get<double>();
    const double got = (g * cosines(g.sizes().vec())).sum().item<double>();
    worst = std::max(worst, std::abs(g.norm().item<double>() - norm) / (norm + 1e-3));
    worst = std::max(worst, std::abs(got - along) / (norm + 1e-3));
  }
  return worst;
}

}  // namespace rewardloom::reference_models
