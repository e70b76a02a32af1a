// A BERT encoder: attention in both directions, each sum normalised after it is formed.
// Devlin et al. 2019, arXiv:1810.04805.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "nodes/text/model_weights.h"

namespace rewardloom {

/// What a config.json of a BertModel states.
struct EncoderConfig {
  std::string architecture;
  std::int64_t vocab_size = 0;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t max_positions = 0;
  std::int64_t token_types = 0;
  double norm_epsilon = 1e-12;
  Activation activation = Activation::gelu;
  Json source = Json::object();  ///< config.json as read
};

/// Failure `model-config` or `model-architecture`, as for decoders.
EncoderConfig encoder_config(const Json& json);
/// `pooler`: with the dense layer that BERT trains on its first token; embeddings do not use it.
std::vector<WeightShape> encoder_shapes(const EncoderConfig& config, bool pooler);
/// Reads model.safetensors or its shards; names may begin with "bert.", heads of pretraining are
/// passed over. Failure `model-weights` as for decoders.
WeightMap load_encoder_weights(const std::filesystem::path& folder, const EncoderConfig& config);
/// Writes config.json and model.safetensors.
void save_encoder(const std::filesystem::path& folder, const EncoderConfig& config,
                  const WeightMap& weights);

/// Last hidden states [N,T,D] of tokens [N,T] int64, differentiable with respect to `weights`. mask
/// [N,T] bool is false on padding; positions count from the first column and every token is of
/// type 0.
at::Tensor encoder_hidden(const EncoderConfig& config, const WeightMap& weights,
                          const at::Tensor& tokens, const at::Tensor& mask);

}  // namespace rewardloom
