#include "nodes/text/model_weights.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> weight_files(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors";
  if (fs::exists(single)) return {single};
  const fs::path index = folder / "model.safetensors.index.json";
  if (!fs::exists(index)) {
    throw Failure("model-weights",
                  fmt::format("{} holds neither model.safetensors nor model.safetensors.index.json",
                              folder.string()),
                  "only safetensors weights are read; convert other formats first");
  }
  const Json json = read_json(index);
  if (!json.contains("weight_map") || !json["weight_map"].is_object()) {
    throw Failure("model-weights", fmt::format("{} has no weight_map", index.string()));
  }
  std::vector<std::string> names;
  for (const auto& [tensor, file] : json["weight_map"].items()) names.push_back(file);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(folder / name);
  return paths;
}

bool is_redundant(const std::string& name, const ModelConfig& config) {
  return name.ends_with("rotary_emb.inv_freq") ||
         (config.tied_embeddings && name == "lm_head.weight");
}

bool same_shape(const at::Tensor& tensor, const std::vector<std::int64_t>& shape) {
  return tensor.sizes() == at::IntArrayRef(shape);
}

}  // namespace

void check_weights(const ModelConfig& config, const WeightMap& weights) {
  std::vector<std::string> faults;
  std::map<std::string, std::vector<std::int64_t>> wanted;
  for (const WeightShape& weight : weight_shapes(config)) {
    wanted[weight.name] = weight.shape;
    const auto found = weights.find(weight.name);
    if (found == weights.end()) {
      faults.push_back(fmt::format("{} is missing", weight.name));
    } else if (!same_shape(found->second, weight.shape)) {
      faults.push_back(fmt::format("{} is [{}], the config needs [{}]", weight.name,
                                   fmt::join(found->second.sizes(), ", "),
                                   fmt::join(weight.shape, ", ")));
    }
  }
  for (const auto& [name, tensor] : weights) {
    if (!wanted.contains(name)) faults.push_back(fmt::format("{} is not expected", name));
  }
  if (faults.empty()) return;
  throw Failure("model-weights",
                fmt::format("{} of the tensors do not fit {}:\n{}", faults.size(),
                            config.architecture, fmt::join(faults, "\n")),
                "config.json and the weights must come from the same model");
}

WeightMap load_weights(const fs::path& folder, const ModelConfig& config) {
  WeightMap weights;
  for (const fs::path& path : weight_files(folder)) {
    Package package = read_safetensors(path);
    for (auto& [name, tensor] : package.tensors) {
      if (is_redundant(name, config)) continue;
      if (!at::isFloatingType(tensor.scalar_type())) {
        throw Failure("model-weights", fmt::format("{} in {} holds integers", name, path.string()),
                      "quantised weights are not supported");
      }
      weights[name] = tensor.to(at::kFloat).contiguous();
    }
  }
  try {
    check_weights(config, weights);
  } catch (const Failure& failure) {
    throw failure.at({folder.string(), "", ""});
  }
  return weights;
}

void save_model(const fs::path& folder, const ModelConfig& config, const WeightMap& weights,
                at::ScalarType dtype) {
  check_weights(config, weights);
  fs::create_directories(folder);
  Package package;
  package.meta["format"] = "pt";
  for (const auto& [name, tensor] : weights) {
    package.tensors[name] = tensor.detach().to(at::kCPU, dtype).contiguous();
  }
  write_safetensors(folder / "model.safetensors", package);
  Json json = to_json(config);
  json["torch_dtype"] = dtype == at::kBFloat16 ? "bfloat16"
                        : dtype == at::kHalf   ? "float16"
                                               : "float32";
  write_durably(folder / "config.json", json.dump(2) + "\n");
}

WeightMap random_weights(const ModelConfig& config, const RandomKey& key) {
  WeightMap weights;
  for (const WeightShape& weight : weight_shapes(config)) {
    if (weight.shape.size() == 1) {
      const bool bias = weight.name.ends_with(".bias");
      weights[weight.name] = bias ? at::zeros(weight.shape) : at::ones(weight.shape);
      continue;
    }
    at::Tensor tensor = at::empty(weight.shape);
    float* data = tensor.data_ptr<float>();
    const Random stream(key, hash_name(weight.name));
    for (std::int64_t row = 0; row < weight.shape[0]; ++row) {
      Random random = stream.at(hash_name(weight.name), static_cast<std::uint64_t>(row));
      for (std::int64_t j = 0; j < weight.shape[1]; ++j) {
        *data++ = static_cast<float>(config.initializer_range * random.normal());
      }
    }
    weights[weight.name] = tensor;
  }
  return weights;
}

}  // namespace rewardloom
