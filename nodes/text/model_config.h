// The architecture of a decoder as a Hugging Face config.json states it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// The `llama3` rule, which stretches the slow rotations of a rotary embedding.
struct RopeScaling {
  double factor = 1.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  double original_positions = 8192;
};

/// A pre-norm decoder with rotary embedding, grouped-query attention and a gated feed-forward
/// layer.
struct ModelConfig {
  std::string architecture;  ///< e.g. LlamaForCausalLM
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t key_value_heads = 0;
  std::int64_t head_size = 0;
  std::int64_t max_positions = 0;
  double rms_epsilon = 1e-6;
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;
  bool tied_embeddings = false;
  bool query_key_value_bias = false;
  bool output_bias = false;
  bool feed_forward_bias = false;
  bool query_key_norm = false;
  double initializer_range = 0.02;
  std::vector<std::int64_t> end_tokens;  ///< eos_token_id, one or several
  Json source = Json::object();          ///< config.json as read: unknown keys survive

  std::int64_t query_width() const { return heads * head_size; }
  std::int64_t key_value_width() const { return key_value_heads * head_size; }
  std::int64_t parameter_count() const;
};

/// A weight's Hugging Face name and shape, in the order of the network.
struct WeightShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
std::vector<WeightShape> weight_shapes(const ModelConfig& config);

/// Reads a parsed config.json. Failure `model-config` for a missing or impossible entry,
/// `model-architecture` for a network that is not one of known_architectures().
ModelConfig model_config(const Json& json);
ModelConfig read_model_config(const std::filesystem::path& folder);
/// `source`, in which what this program understands holds the values of the other fields.
Json to_json(const ModelConfig& config);
std::vector<std::string> known_architectures();

/// Inverse frequencies [head_size / 2] of the rotary embedding, `llama3` scaling applied.
std::vector<double> rotary_frequencies(const ModelConfig& config);

}  // namespace rewardloom
