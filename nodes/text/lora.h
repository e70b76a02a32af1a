// Low-rank adapters beside a decoder's linear layers, in PEFT's file layout.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/random.h"
#include "nodes/text/model_weights.h"

namespace rewardloom {

/// Which layers get adapters, as PEFT selects them: a target is the end of a module's name after a
/// dot ("q_proj"); "all-linear" alone means every linear layer of the blocks.
struct LoraTargets {
  std::int64_t rank = 8;
  double alpha = 16;
  bool rank_stabilised = false;
  std::vector<std::string> targets{"all-linear"};
};
/// From {"rank", "alpha", "targets", "rank_stabilised"}; alpha is twice the rank and every linear
/// layer a target unless given. Failure `lora` for any other entry.
LoraTargets lora_targets(const Json& json);
/// `config` with those adapters. Failure `lora` for a target that names no layer, with the layers
/// that there are.
ModelConfig with_adapters(const ModelConfig& config, const LoraTargets& targets);
/// New adapters that change nothing: A uniform in +-1/sqrt(in), B zero.
WeightMap new_adapters(const ModelConfig& config, const RandomKey& key);

/// The weights without adapters, W + scale B A in the place of W.
WeightMap merged_weights(const ModelConfig& config, const WeightMap& weights);
/// Adds the adapters' gradients to `gradients` (where it has their names), given those of the
/// merged weights: dA = scale B^T dW, dB = scale dW A^T.
void adapter_gradients(const ModelConfig& config, const WeightMap& weights,
                       const WeightMap& merged_gradients, WeightMap& gradients);

/// Reads adapter_config.json and adapter_model.safetensors over a model of `config` into `weights`,
/// a stored score head included; gives the config with the adapters. Failure `lora` for what is not
/// supported (other than LoRA on linear layers without bias) or does not fit.
ModelConfig load_adapters(const std::filesystem::path& folder, const ModelConfig& config,
                          WeightMap& weights);
/// Writes both files; `base` is the folder or name of the model that they belong to. A score head
/// is stored with the adapters.
void save_adapters(const std::filesystem::path& folder, const ModelConfig& config,
                   const WeightMap& weights, const std::string& base);

}  // namespace rewardloom
