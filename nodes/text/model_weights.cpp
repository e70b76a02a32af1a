#include "nodes/text/model_weights.h"

#include <ATen/Functions.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"
#include "nodes/text/lora.h"
#include "nodes/text/weight_checks.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

constexpr const char* single_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

/// Which shard holds which tensors.
using ShardMap = std::map<std::string, std::set<std::string>>;

ShardMap read_index(const fs::path& path) {
  const Json json = read_json(path);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    throw Failure("model-weights", fmt::format("{} has no weight_map", path.string()));
  }
  ShardMap shards;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string() || fs::path(file.get<std::string>()).has_parent_path()) {
      throw Failure("model-weights", fmt::format("{} places {} in {}, which is no file beside it",
                                                 path.string(), tensor, file.dump()));
    }
    shards[file.get<std::string>()].insert(tensor);
  }
  return shards;
}

void require_shards(const fs::path& folder, const ShardMap& shards) {
  std::vector<std::string> missing;
  for (const auto& [file, tensors] : shards) {
    if (!fs::exists(folder / file)) missing.push_back(file);
  }
  if (missing.empty()) return;
  throw Failure("model-weights",
                fmt::format("{} of {} shards that {} lists are not in {}: {}", missing.size(),
                            shards.size(), index_file, folder.string(), fmt::join(missing, ", ")),
                "copy the whole folder");
}

bool is_readable(at::ScalarType type) {
  return type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
}

/// Half-precision files are mapped: their own copy in memory is not needed.
void read_file_into(const fs::path& path, WeightMap& weights) {
  Package package = read_safetensors(path, Reading::mapped);
  std::vector<std::string> faults;
  for (auto& [name, tensor] : package.tensors) {
    if (!is_readable(tensor.scalar_type())) {
      // Buffers, not weights: GPT-2's causal mask, BERT's positions.
      if (name.ends_with(".attn.bias") || name.ends_with("position_ids")) continue;
      faults.push_back(fmt::format("{} holds {}", name, safetensors_dtype(tensor.scalar_type())));
      continue;
    }
    weights[name] = tensor.to(tensor.options().dtype(at::kFloat), false, true).contiguous();
  }
  if (faults.empty()) return;
  throw Failure("model-weights",
                fmt::format("{} tensors of {} are not of type F32, F16 or BF16:\n{}", faults.size(),
                            path.string(), fmt::join(faults, "\n")),
                "quantised weights are not supported");
}

void require_listed(const fs::path& folder, const ShardMap& shards, const WeightMap& weights) {
  std::vector<std::string> faults;
  for (const auto& [file, tensors] : shards) {
    for (const std::string& tensor : tensors) {
      if (!weights.contains(tensor)) faults.push_back(fmt::format("{} in {}", tensor, file));
    }
  }
  if (faults.empty()) return;
  throw Failure("model-weights",
                fmt::format("{} tensors that {} lists are not there:\n{}", faults.size(),
                            (folder / index_file).string(), fmt::join(faults, "\n")),
                "index and shards must come from the same model");
}

/// Tensors that checkpoints hold besides the weights.
bool is_buffer(const std::string& name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with(".attn.masked_bias") ||
         name.ends_with(".attn.bias");
}

bool same_shape(const at::Tensor& tensor, const std::vector<std::int64_t>& shape) {
  return tensor.sizes() == at::IntArrayRef(shape);
}

std::int64_t bytes_of(const at::Tensor& tensor, at::ScalarType dtype) {
  return tensor.numel() * static_cast<std::int64_t>(at::elementSize(dtype));
}

/// Names in order, cut where a shard would grow beyond its size.
std::vector<std::vector<std::string>> shards_of(const WeightMap& weights,
                                                const SaveOptions& options) {
  std::vector<std::vector<std::string>> shards(1);
  std::int64_t size = 0;
  for (const auto& [name, tensor] : weights) {
    const std::int64_t more = bytes_of(tensor, options.dtype);
    if (!shards.back().empty() && size + more > options.shard_bytes) {
      shards.emplace_back();
      size = 0;
    }
    size += more;
    shards.back().push_back(name);
  }
  return shards;
}

void write_shard(const fs::path& path, const WeightMap& weights,
                 const std::vector<std::string>& names, at::ScalarType dtype) {
  Package package;
  package.meta["format"] = "pt";
  for (const std::string& name : names) {
    package.tensors[name] = weights.at(name).detach().to(at::kCPU, dtype).contiguous();
  }
  write_safetensors(path, package);
}

/// Leaves no weights in the folder but those just written.
void remove_others(const fs::path& folder, const std::set<std::string>& kept) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool weights = name == single_file || name == index_file ||
                         (name.starts_with("model-") && name.ends_with(".safetensors"));
    if (weights && !kept.contains(name)) fs::remove(entry.path());
  }
}

void write_weights(const fs::path& folder, const WeightMap& weights, const SaveOptions& options) {
  const auto shards = shards_of(weights, options);
  if (shards.size() == 1) {
    write_shard(folder / single_file, weights, shards[0], options.dtype);
    return remove_others(folder, {single_file});
  }
  std::set<std::string> files{index_file};
  Json map = Json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    write_shard(folder / file, weights, shards[i], options.dtype);
    files.insert(file);
    for (const std::string& name : shards[i]) {
      map[name] = file;
      total += bytes_of(weights.at(name), options.dtype);
    }
  }
  Json index = Json::object();
  index["metadata"]["total_size"] = total;
  index["weight_map"] = std::move(map);
  write_durably(folder / index_file, index.dump(2) + "\n");
  remove_others(folder, files);
}

at::Tensor drawn(const WeightShape& weight, double spread, const RandomKey& key) {
  at::Tensor tensor = at::empty(weight.shape);
  float* data = tensor.data_ptr<float>();
  const Random stream(key, hash_name(weight.name));
  for (std::int64_t row = 0; row < weight.shape[0]; ++row) {
    Random random = stream.at(hash_name(weight.name), static_cast<std::uint64_t>(row));
    for (std::int64_t j = 0; j < weight.shape[1]; ++j) {
      *data++ = static_cast<float>(spread * random.normal());
    }
  }
  return tensor;
}

/// What a checkpoint's names become under this config; what is passed over is left out.
WeightMap wanted_weights(WeightMap found, const ModelConfig& config, bool drop_head) {
  std::set<std::string> wanted;
  for (const WeightShape& weight : weight_shapes(config)) wanted.insert(weight.name);
  const bool passes_head =
      config.head == HeadKind::language_model ? config.tied_embeddings : drop_head;
  const std::string trunk = weight_names(config).trunk;
  WeightMap weights;
  for (auto& [name, tensor] : found) {
    if (wanted.contains(name)) {
      weights[name] = std::move(tensor);
    } else if (wanted.contains(trunk + name)) {
      weights[trunk + name] = std::move(tensor);
    } else if (!is_buffer(name) && !(passes_head && name == "lm_head.weight")) {
      weights[name] = std::move(tensor);
    }
  }
  return weights;
}

}  // namespace

void require_shapes(const std::string& owner, const std::vector<WeightShape>& shapes,
                    const WeightMap& weights) {
  std::vector<std::string> faults;
  std::set<std::string> wanted;
  for (const WeightShape& weight : shapes) {
    wanted.insert(weight.name);
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
                fmt::format("{} of the tensors do not fit {}:\n{}", faults.size(), owner,
                            fmt::join(faults, "\n")),
                "config.json and the weights must come from the same model");
}

void check_weights(const ModelConfig& config, const WeightMap& weights) {
  std::vector<WeightShape> shapes = weight_shapes(config);
  for (WeightShape& shape : adapter_shapes(config)) shapes.push_back(std::move(shape));
  require_shapes(config.architecture, shapes, weights);
}

WeightMap read_tensors(const fs::path& folder) {
  WeightMap weights;
  if (fs::exists(folder / single_file)) {
    read_file_into(folder / single_file, weights);
    return weights;
  }
  if (!fs::exists(folder / index_file)) {
    throw Failure(
        "model-weights",
        fmt::format("{} holds neither {} nor {}", folder.string(), single_file, index_file),
        "only safetensors weights are read; convert other formats first");
  }
  const ShardMap shards = read_index(folder / index_file);
  require_shards(folder, shards);
  for (const auto& [file, tensors] : shards) read_file_into(folder / file, weights);
  require_listed(folder, shards, weights);
  return weights;
}

WeightMap load_weights(const fs::path& folder, const ModelConfig& config,
                       const std::optional<NewHead>& new_head) {
  ModelConfig plain = config;
  plain.lora.reset();
  WeightMap weights = wanted_weights(read_tensors(folder), plain, new_head.has_value());
  if (new_head && config.head != HeadKind::language_model) {
    const std::string head = head_module(config) + ".weight";
    if (!weights.contains(head)) weights.merge(head_weights(config, *new_head));
  }
  try {
    check_weights(plain, weights);
  } catch (const Failure& failure) {
    throw failure.at({folder.string(), "", ""});
  }
  return weights;
}

void save_model(const fs::path& folder, const ModelConfig& config, const WeightMap& weights,
                const SaveOptions& options) {
  check_weights(config, weights);
  fs::create_directories(folder);
  write_weights(folder, config.lora ? merged_weights(config, weights) : weights, options);
  Json json = to_json(config);
  json[json.contains("dtype") ? "dtype" : "torch_dtype"] = options.dtype == at::kBFloat16
                                                               ? "bfloat16"
                                                           : options.dtype == at::kHalf ? "float16"
                                                                                        : "float32";
  write_durably(folder / "config.json", json.dump(2) + "\n");
}

void save_model(const fs::path& folder, const ModelConfig& config, const WeightMap& weights,
                at::ScalarType dtype) {
  SaveOptions options;
  options.dtype = dtype;
  save_model(folder, config, weights, options);
}

WeightMap random_weights(const ModelConfig& config, const RandomKey& key) {
  WeightMap weights;
  for (const WeightShape& weight : weight_shapes(config)) {
    if (weight.shape.size() > 1) {
      weights[weight.name] = drawn(weight, config.initializer_range, key);
      continue;
    }
    const bool zero = weight.name.ends_with(".bias") || config.norm == NormKind::rms_plus_one;
    weights[weight.name] = zero ? at::zeros(weight.shape) : at::ones(weight.shape);
  }
  return weights;
}

WeightMap head_weights(const ModelConfig& config, const NewHead& head) {
  const std::string module = head_module(config);
  const WeightShape shape{module + ".weight", {config.outputs(), config.hidden_size}};
  WeightMap weights;
  weights[shape.name] =
      head.zeros ? at::zeros(shape.shape) : drawn(shape, config.initializer_range, head.key);
  if (head_has_bias(config)) weights[module + ".bias"] = at::zeros({config.outputs()});
  return weights;
}

}  // namespace rewardloom
