// The weights of a decoder under their Hugging Face names, in and out of model.safetensors.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "engine/core/random.h"
#include "nodes/text/model_config.h"
#include "nodes/text/weight_names.h"

namespace rewardloom {

using WeightMap = std::map<std::string, at::Tensor>;

/// A score head for a trunk that has none: zeros, or drawn as random_weights draws.
struct NewHead {
  bool zeros = false;
  RandomKey key;
};

/// The tensors of model.safetensors, or of the shards that model.safetensors.index.json lists, as
/// float32 (F32, F16 and BF16 are read) on the CPU. Failure `model-weights` for a missing shard.
WeightMap read_tensors(const std::filesystem::path& folder);
/// The weights that `config` wants. Names without the trunk's prefix are accepted; buffers and a
/// tied head's copy are passed over. With `new_head` a score head that is not there is made, and a
/// language-model head that is there is passed over. Failure `model-weights` with the full list of
/// missing, unexpected and misshapen tensors.
WeightMap load_weights(const std::filesystem::path& folder, const ModelConfig& config,
                       const std::optional<NewHead>& new_head = {});

/// How a model is stored: in shards model-00001-of-0000N.safetensors where it takes more bytes than
/// one may have.
struct SaveOptions {
  at::ScalarType dtype = at::kFloat;
  std::int64_t shard_bytes = 5'000'000'000;
};
/// Writes config.json and the weights, adapters merged into them. A tied head is not written.
/// Weights that stood in the folder before are removed.
void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const WeightMap& weights, const SaveOptions& options);
void save_model(const std::filesystem::path& folder, const ModelConfig& config,
                const WeightMap& weights, at::ScalarType dtype = at::kFloat);

/// Normal(0, initializer_range) for matrices, the identity for norms, 0 for biases; the draw of an
/// element depends on the key, its tensor's name and its index alone. Adapters are not among them.
WeightMap random_weights(const ModelConfig& config, const RandomKey& key);
/// The head alone of random_weights, or zeros.
WeightMap head_weights(const ModelConfig& config, const NewHead& head);
/// Refuses what does not fit the config, adapters included, as load_weights does.
void check_weights(const ModelConfig& config, const WeightMap& weights);

}  // namespace rewardloom
