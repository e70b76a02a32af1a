// The architecture of a decoder as a Hugging Face config.json states it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// What stretches the rotations of a rotary embedding: all of them, or (llama3) the slow ones.
enum class RopeScalingKind { linear, llama3 };
struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::llama3;
  double factor = 1.0;
  double low_frequency_factor = 1.0;
  double high_frequency_factor = 4.0;
  double original_positions = 8192;
};

/// How a token's place enters: queries and keys are rotated, or a learned vector is added.
enum class PositionKind { rotary, learned };
/// x / rms(x) * w, x / rms(x) * (1 + w), or (x - mean) / std * w + b.
enum class NormKind { rms, rms_plus_one, layer };
enum class Activation { silu, gelu, gelu_tanh };
/// How the weights are named and laid out; gpt2 fuses query, key and value and stores [in, out].
enum class WeightLayout { llama, gemma2, gpt2 };

/// What stands on the last layer: logits of the next token, or `labels` scores, read at each
/// sequence's last token (...ForSequenceClassification, without bias) or at each token
/// (...ForTokenClassification, with bias).
enum class HeadKind { language_model, sequence, token };
/// Which tokens a sequence head reads: the last one, or all, whose scores are averaged.
enum class ScorePooling { last, mean };

/// Low-rank adapters W x + scale() B A x beside some linear layers. Hu et al. 2021,
/// arXiv:2106.09685. Their tensors are called `<module>.lora_A.weight` [rank, in] and
/// `<module>.lora_B.weight` [out, rank].
struct LoraConfig {
  std::int64_t rank = 8;
  double alpha = 8;
  bool rank_stabilised = false;      ///< alpha / sqrt(rank); Kalajdzievski 2023, arXiv:2312.03732
  std::vector<std::string> modules;  ///< in the order of the network
  Json source = Json::object();      ///< adapter_config.json as read: unknown keys survive
  double scale() const;
};

/// A decoder: blocks of causal attention and a feed-forward layer around one residual stream.
/// The precision of a pass; weights, gradients and optimizers are float32 with either.
enum class ComputeType { float32, bfloat16 };

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
  double rms_epsilon = 1e-6;  ///< of every norm
  double rope_theta = 10000.0;
  std::optional<RopeScaling> rope_scaling;
  bool tied_embeddings = false;
  bool query_key_value_bias = false;
  bool output_bias = false;
  bool feed_forward_bias = false;
  bool query_key_norm = false;
  bool bidirectional =
      false;  ///< every token sees all of its sequence (use_bidirectional_attention)
  ScorePooling pooling = ScorePooling::last;  ///< of a sequence head (classifier_pooling)
  double initializer_range = 0.02;
  std::vector<std::int64_t> end_tokens;  ///< eos_token_id, one or several
  Json source = Json::object();          ///< config.json as read: unknown keys survive

  WeightLayout layout = WeightLayout::llama;
  PositionKind positions = PositionKind::rotary;
  NormKind norm = NormKind::rms;
  Activation activation = Activation::silu;
  bool gated = true;                ///< activation(gate x) * (up x) instead of activation(up x)
  bool norms_after = false;         ///< a further norm on what a layer adds to the stream
  double embedding_scale = 1.0;     ///< on the token embeddings
  double attention_scale = 0.0;     ///< on query . key
  double attention_cap = 0.0;       ///< scores become cap * tanh(score / cap); 0: no cap
  double logit_cap = 0.0;           ///< the same of the head's logits
  std::int64_t sliding_window = 0;  ///< tokens that a windowed layer sees, itself included
  std::vector<bool> windowed;       ///< [layers]
  HeadKind head = HeadKind::language_model;
  std::int64_t labels = 0;                     ///< outputs of a score head
  std::optional<LoraConfig> lora;              ///< beside the weights; never part of config.json
  ComputeType compute = ComputeType::float32;  ///< of this process, as is the next
  bool recomputes_layers = false;  ///< backward passes keep layers' inputs alone (checkpointing)

  std::int64_t query_width() const { return heads * head_size; }
  std::int64_t key_value_width() const { return key_value_heads * head_size; }
  /// Width of what the head gives: vocab_size or labels.
  std::int64_t outputs() const { return head == HeadKind::language_model ? vocab_size : labels; }
  /// Tokens that layer `index` sees, 0 for all.
  std::int64_t window(std::int64_t index) const { return windowed[index] ? sliding_window : 0; }
  /// Whether the layers are those that this project's own CPU kernels compute.
  bool has_own_kernels() const;
  std::int64_t parameter_count() const;
};

/// Reads a parsed config.json. Failure `model-config` for a missing or impossible entry,
/// `model-architecture` for a network that is not one of known_architectures().
ModelConfig model_config(const Json& json);
ModelConfig read_model_config(const std::filesystem::path& folder);
/// `source`, in which what this program understands holds the values of the other fields.
Json to_json(const ModelConfig& config);
std::vector<std::string> known_architectures();
/// The same trunk under a score head; `kind` is sequence or token, `labels` at least 1.
ModelConfig with_score_head(const ModelConfig& config, HeadKind kind, std::int64_t labels);

/// Inverse frequencies [head_size / 2] of the rotary embedding, scaling applied.
std::vector<double> rotary_frequencies(const ModelConfig& config);

}  // namespace rewardloom
