#include "nodes/text/lora.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"
#include "nodes/reward/pattern.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

constexpr const char* config_file = "adapter_config.json";
constexpr const char* weights_file = "adapter_model.safetensors";
constexpr const char* prefix = "base_model.model.";

bool selects(const std::string& target, const std::string& module) {
  return module == target || module.ends_with("." + target);
}

/// The last part of a module's name.
std::string short_name(const std::string& module) { return module.substr(module.rfind('.') + 1); }

std::vector<std::string> short_names(const ModelConfig& config) {
  std::vector<std::string> names;
  for (const LinearModule& m : linear_modules(config)) {
    const std::string name = short_name(m.name);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

[[noreturn]] void no_target(const ModelConfig& config, const std::string& target) {
  throw Failure("lora", fmt::format("the target {} names no linear layer", target),
                "there are " + listed(short_names(config), "and"));
}

std::vector<std::string> targeted(const ModelConfig& config,
                                  const std::vector<std::string>& targets) {
  const bool all = targets.size() == 1 && targets[0] == "all-linear";
  std::set<std::string> unused(targets.begin(), targets.end());
  std::vector<std::string> modules;
  for (const LinearModule& m : linear_modules(config)) {
    bool chosen = all;
    for (const std::string& target : targets) {
      if (!selects(target, m.name)) continue;
      chosen = true;
      unused.erase(target);
    }
    if (chosen) modules.push_back(m.name);
  }
  if (!all && !unused.empty()) no_target(config, *unused.begin());
  if (modules.empty()) throw Failure("lora", "no layer is targeted", "name at least one target");
  return modules;
}

/// PEFT takes a text for a pattern that the whole name must match.
std::vector<std::string> matching(const ModelConfig& config, const std::string& pattern) {
  if (pattern == "all-linear") return targeted(config, {pattern});
  std::vector<std::string> modules;
  const Pattern whole("\\A(?:" + pattern + ")\\z");
  for (const LinearModule& m : linear_modules(config)) {
    if (whole.search(m.name)) modules.push_back(m.name);
  }
  if (modules.empty()) no_target(config, pattern);
  return modules;
}

struct Pair {
  const LinearModule& module;
  std::string a, b;
};
std::vector<Pair> pairs_of(const ModelConfig& config, const std::vector<LinearModule>& modules) {
  std::vector<Pair> list;
  const std::set<std::string> chosen(config.lora->modules.begin(), config.lora->modules.end());
  for (const LinearModule& m : modules) {
    if (chosen.contains(m.name)) {
      list.push_back({m, m.name + ".lora_A.weight", m.name + ".lora_B.weight"});
    }
  }
  return list;
}

// ---- PEFT's files ----

bool is_empty(const Json& value) {
  return value.is_null() || value == false || value == 0 || value == 0.0 || value.empty() ||
         value == "none" || value == "false";
}

/// Variants of LoRA that change the arithmetic.
void refuse_variants(const Json& json) {
  for (const char* key : {"use_dora", "use_qalora", "rank_pattern", "alpha_pattern", "bias",
                          "layers_to_transform", "layer_replication", "exclude_modules",
                          "trainable_token_indices", "lora_bias", "target_parameters"}) {
    if (!json.contains(key) || is_empty(json[key])) continue;
    throw Failure("lora", fmt::format("{} is {}", key, json[key].dump()),
                  "only plain low-rank adapters of one rank on linear layers are supported");
  }
}

std::int64_t rank_of(const Json& json) {
  if (json.contains("r") && json["r"].is_number_integer() && json["r"].get<std::int64_t>() > 0) {
    return json["r"].get<std::int64_t>();
  }
  throw Failure("lora", fmt::format("{} has no positive rank r", config_file));
}

LoraConfig read_lora(const Json& json, const ModelConfig& config) {
  const std::string type = json.value("peft_type", "LORA");
  if (type != "LORA") {
    throw Failure("lora", fmt::format("adapters of type {} are not supported", type), "LORA is");
  }
  refuse_variants(json);
  LoraConfig lora;
  lora.source = json;
  lora.rank = rank_of(json);
  lora.alpha = json.value("lora_alpha", 8.0);
  lora.rank_stabilised = json.value("use_rslora", false);
  const Json targets = json.value("target_modules", Json());
  if (targets.is_string()) {
    lora.modules = matching(config, targets.get<std::string>());
  } else if (targets.is_array()) {
    lora.modules = targeted(config, targets.get<std::vector<std::string>>());
  } else {
    throw Failure("lora", fmt::format("{} has no target_modules", config_file));
  }
  return lora;
}

/// The name in the model of a tensor in an adapter file.
std::string model_name(const std::string& stored) {
  std::string name =
      stored.starts_with(prefix) ? stored.substr(std::string(prefix).size()) : stored;
  for (const std::string infix : {".modules_to_save.default", ".modules_to_save"}) {
    const std::size_t at = name.find(infix);
    if (at != std::string::npos) return name.erase(at, infix.size());
  }
  return name;
}

const char* task_of(HeadKind head) {
  switch (head) {
    case HeadKind::sequence: return "SEQ_CLS";
    case HeadKind::token: return "TOKEN_CLS";
    case HeadKind::language_model: break;
  }
  return "CAUSAL_LM";
}

Json adapter_json(const ModelConfig& config, const std::string& base) {
  const LoraConfig& lora = *config.lora;
  Json json = lora.source;
  json["peft_type"] = "LORA";
  json["task_type"] = task_of(config.head);
  if (!base.empty()) json["base_model_name_or_path"] = base;
  json["r"] = lora.rank;
  json["lora_alpha"] = lora.alpha;
  json["use_rslora"] = lora.rank_stabilised;
  json["fan_in_fan_out"] = config.layout == WeightLayout::gpt2;
  json["bias"] = "none";
  json["inference_mode"] = true;
  if (!json.contains("lora_dropout")) json["lora_dropout"] = 0.0;
  if (!json.contains("target_modules")) {
    std::set<std::string> names;
    for (const std::string& module : lora.modules) names.insert(module);
    json["target_modules"] = names;
  }
  json["modules_to_save"] = nullptr;
  if (config.head != HeadKind::language_model) {
    json["modules_to_save"] = std::vector<std::string>{head_module(config)};
  }
  return json;
}

}  // namespace

LoraTargets lora_targets(const Json& json) {
  LoraTargets targets;
  try {
    for (const auto& [key, value] : json.items()) {
      if (key == "rank") {
        targets.rank = value.get<std::int64_t>();
      } else if (key == "alpha") {
        targets.alpha = value.get<double>();
      } else if (key == "rank_stabilised") {
        targets.rank_stabilised = value.get<bool>();
      } else if (key == "targets") {
        targets.targets = value.is_string() ? std::vector{value.get<std::string>()}
                                            : value.get<std::vector<std::string>>();
      } else {
        throw Failure("lora", fmt::format("lora has an entry {}", key),
                      "rank, alpha, targets and rank_stabilised are known");
      }
    }
  } catch (const Json::exception& error) {
    throw Failure("lora", fmt::format("lora is {}: {}", json.dump(), error.what()));
  }
  if (targets.rank < 1) throw Failure("lora", fmt::format("the rank {} is below 1", targets.rank));
  if (!json.contains("alpha")) targets.alpha = 2.0 * static_cast<double>(targets.rank);
  return targets;
}

ModelConfig with_adapters(const ModelConfig& config, const LoraTargets& targets) {
  ModelConfig c = config;
  LoraConfig lora;
  lora.rank = targets.rank;
  lora.alpha = targets.alpha;
  lora.rank_stabilised = targets.rank_stabilised;
  lora.modules = targeted(config, targets.targets);
  lora.source["target_modules"] = targets.targets;
  if (targets.targets == std::vector<std::string>{"all-linear"}) {
    lora.source["target_modules"] = short_names(config);
  }
  c.lora = std::move(lora);
  return c;
}

WeightMap new_adapters(const ModelConfig& config, const RandomKey& key) {
  WeightMap weights;
  for (const WeightShape& shape : adapter_shapes(config)) {
    at::Tensor tensor = at::zeros(shape.shape);
    if (shape.name.ends_with("lora_A.weight")) {
      const double bound = 1.0 / std::sqrt(static_cast<double>(shape.shape[1]));
      float* data = tensor.data_ptr<float>();
      const Random stream(key);
      for (std::int64_t row = 0; row < shape.shape[0]; ++row) {
        Random random = stream.at(hash_name(shape.name), static_cast<std::uint64_t>(row));
        for (std::int64_t j = 0; j < shape.shape[1]; ++j) {
          *data++ = static_cast<float>(bound * (2 * random.uniform() - 1));
        }
      }
    }
    weights[shape.name] = tensor;
  }
  return weights;
}

WeightMap merged_weights(const ModelConfig& config, const WeightMap& weights) {
  if (!config.lora) return weights;
  const c10::NoGradGuard no_gradient;
  WeightMap merged;
  for (const WeightShape& shape : weight_shapes(config)) {
    merged[shape.name] = weights.at(shape.name);
  }
  const std::vector<LinearModule> modules = linear_modules(config);
  for (const Pair& pair : pairs_of(config, modules)) {
    const at::Tensor change =
        at::mm(weights.at(pair.b), weights.at(pair.a)).mul(config.lora->scale());
    at::Tensor& weight = merged.at(pair.module.name + ".weight");
    weight = weight + (pair.module.transposed ? change.t() : change);
  }
  return merged;
}

void adapter_gradients(const ModelConfig& config, const WeightMap& weights,
                       const WeightMap& merged_gradients, WeightMap& gradients) {
  const c10::NoGradGuard no_gradient;
  const double scale = config.lora->scale();
  const std::vector<LinearModule> modules = linear_modules(config);
  for (const Pair& pair : pairs_of(config, modules)) {
    const auto a = gradients.find(pair.a), b = gradients.find(pair.b);
    if (a == gradients.end() && b == gradients.end()) continue;
    const at::Tensor stored = merged_gradients.at(pair.module.name + ".weight");
    const at::Tensor d = pair.module.transposed ? stored.t() : stored;
    if (a != gradients.end()) a->second.add_(at::mm(weights.at(pair.b).t(), d), scale);
    if (b != gradients.end()) b->second.add_(at::mm(d, weights.at(pair.a).t()), scale);
  }
}

ModelConfig load_adapters(const fs::path& folder, const ModelConfig& config, WeightMap& weights) {
  try {
    const Json json = read_json(folder / config_file);
    if (!json.is_object()) throw Failure("lora", fmt::format("{} is not an object", config_file));
    ModelConfig c = config;
    c.lora = read_lora(json, config);
    for (auto& [stored, tensor] : read_safetensors(folder / weights_file).tensors) {
      const std::string name = model_name(stored);
      if (!at::isFloatingType(tensor.scalar_type())) {
        throw Failure("lora", fmt::format("{} holds no floating-point numbers", stored));
      }
      const bool adapter = name.find(".lora_") != std::string::npos;
      const bool head =
          config.head != HeadKind::language_model && name.starts_with(head_module(config) + ".");
      if (!adapter && !head) {
        throw Failure(
            "lora",
            fmt::format("{} holds {}, which is neither an adapter nor a score head", weights_file,
                        stored),
            "embeddings and heads that were trained along with adapters are not supported");
      }
      weights[name] = tensor.to(at::kFloat).contiguous();
    }
    check_weights(c, weights);
    return c;
  } catch (const Failure& failure) {
    throw failure.at({folder.string(), "", ""});
  } catch (const Json::exception& error) {
    throw Failure("lora", fmt::format("{} cannot be read: {}", config_file, error.what()))
        .at({folder.string(), "", ""});
  }
}

void save_adapters(const fs::path& folder, const ModelConfig& config, const WeightMap& weights,
                   const std::string& base) {
  if (!config.lora) {
    throw Failure("lora", "the model has no adapters", "save the whole model instead");
  }
  check_weights(config, weights);
  Package package;
  package.meta["format"] = "pt";
  const auto add = [&](const std::string& name) {
    package.tensors[prefix + name] = weights.at(name).detach().to(at::kCPU).contiguous();
  };
  for (const WeightShape& shape : adapter_shapes(config)) add(shape.name);
  if (config.head != HeadKind::language_model) {
    add(head_module(config) + ".weight");
    if (head_has_bias(config)) add(head_module(config) + ".bias");
  }
  fs::create_directories(folder);
  write_safetensors(folder / weights_file, package);
  write_durably(folder / config_file, adapter_json(config, base).dump(2) + "\n");
}

}  // namespace rewardloom
