// The weights of a decoder under their Hugging Face names, in and out of model.safetensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "engine/core/random.h"
#include "nodes/text/model_config.h"

namespace rewardloom {

using WeightMap = std::map<std::string, at::Tensor>;

/// Reads model.safetensors, or the shards that model.safetensors.index.json lists, as float32.
/// Failure `model-weights` with the full list of missing, unexpected and misshapen tensors.
WeightMap load_weights(const std::filesystem::path& folder, const ModelConfig& config);
/// Writes config.json and model.safetensors. A tied head is not written; dtype is what is stored.
void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const WeightMap& weights, at::ScalarType dtype = at::kFloat);
/// Normal(0, initializer_range) for matrices, 1 for norms, 0 for biases; the draw of an element
/// depends on the key, its tensor's name and its index alone.
WeightMap random_weights(const ModelConfig& config, const RandomKey& key);
/// Refuses what does not fit the config, as load_weights does.
void check_weights(const ModelConfig& config, const WeightMap& weights);

}  // namespace rewardloom
