// What a decoder's tensors are called in Hugging Face checkpoints, and their shapes.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "nodes/text/model_config.h"

namespace rewardloom {

/// A weight's Hugging Face name and shape, in the order of the network.
struct WeightShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
/// All weights but adapters.
std::vector<WeightShape> weight_shapes(const ModelConfig& config);
/// The adapters' tensors, empty without config.lora.
std::vector<WeightShape> adapter_shapes(const ModelConfig& config);

/// A linear layer of a block: weight [out, in], or [in, out] where it is `transposed`.
struct LinearModule {
  std::string name;
  std::int64_t out = 0;
  std::int64_t in = 0;
  bool bias = false;
  bool transposed = false;
};
std::vector<LinearModule> linear_modules(const ModelConfig& config);

/// Names within a block; empty where there is no such part.
struct BlockNames {
  const char* input_norm;
  const char* attention_norm;  ///< on what attention adds
  const char* middle_norm;     ///< before the feed-forward layer
  const char* feed_forward_norm;
  const char* fused;  ///< query, key and value in one
  const char* query;
  const char* key;
  const char* value;
  const char* out;
  const char* gate;
  const char* up;
  const char* down;
};
struct WeightNames {
  const char* trunk;  ///< prefix of all but the head
  const char* embedding;
  const char* positions;
  const char* blocks;  ///< prefix of the blocks, before their index
  const char* last_norm;
  BlockNames block;
};
const WeightNames& weight_names(const ModelConfig& config);
std::string block_prefix(const ModelConfig& config, std::int64_t index);
std::string embedding_name(const ModelConfig& config);
/// The module of the head, without ".weight": tied heads are the embedding.
std::string head_module(const ModelConfig& config);
bool head_has_bias(const ModelConfig& config);

}  // namespace rewardloom
