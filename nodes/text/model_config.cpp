#include "nodes/text/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "engine/core/problem.h"
#include "engine/io/jsonl.h"

namespace rewardloom {

namespace {

std::int64_t positive(const Json& json, const char* key,
                      std::optional<std::int64_t> otherwise = {}) {
  if (!json.contains(key) || json[key].is_null()) {
    if (otherwise) return *otherwise;
    throw Failure("model-config", fmt::format("config.json has no {}", key),
                  "a decoder's config.json states its sizes");
  }
  const Json& value = json[key];
  if (!value.is_number_integer() || value.get<std::int64_t>() <= 0) {
    throw Failure("model-config",
                  fmt::format("{} is {}, not a positive integer", key, value.dump()));
  }
  return value.get<std::int64_t>();
}

double number(const Json& json, const char* key, double otherwise) {
  if (!json.contains(key) || json[key].is_null()) return otherwise;
  if (!json[key].is_number()) {
    throw Failure("model-config", fmt::format("{} is {}, not a number", key, json[key].dump()));
  }
  return json[key].get<double>();
}

bool flag(const Json& json, const char* key, bool otherwise) {
  if (!json.contains(key) || json[key].is_null()) return otherwise;
  if (!json[key].is_boolean()) {
    throw Failure("model-config",
                  fmt::format("{} is {}, not true or false", key, json[key].dump()));
  }
  return json[key].get<bool>();
}

std::string architecture_of(const Json& json) {
  if (json.contains("architectures") && json["architectures"].is_array() &&
      !json["architectures"].empty()) {
    return json["architectures"][0].get<std::string>();
  }
  const std::string type = json.value("model_type", "");
  for (const std::string& name : known_architectures()) {
    std::string lower = name.substr(0, name.find("For"));
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower == type) return name;
  }
  return type.empty() ? "(no architectures entry)" : type;
}

void apply_architecture(ModelConfig& c, const Json& json) {
  const bool attention_bias = flag(json, "attention_bias", false);
  c.query_key_value_bias = c.architecture == "Qwen2ForCausalLM" || attention_bias;
  c.output_bias = c.architecture != "Qwen2ForCausalLM" && attention_bias;
  c.feed_forward_bias = c.architecture == "LlamaForCausalLM" && flag(json, "mlp_bias", false);
  c.query_key_norm = c.architecture == "Qwen3ForCausalLM";
}

std::optional<RopeScaling> rope_scaling_of(const Json& json) {
  if (!json.contains("rope_scaling") || json["rope_scaling"].is_null()) return std::nullopt;
  const Json& s = json["rope_scaling"];
  const std::string type = s.value("rope_type", s.value("type", std::string("default")));
  if (type == "default") return std::nullopt;
  if (type != "llama3") {
    throw Failure("model-config", fmt::format("rope_scaling of type {} is not supported", type),
                  "llama3 and default are");
  }
  RopeScaling scaling;
  scaling.factor = number(s, "factor", 1.0);
  scaling.low_frequency_factor = number(s, "low_freq_factor", 1.0);
  scaling.high_frequency_factor = number(s, "high_freq_factor", 4.0);
  scaling.original_positions = number(s, "original_max_position_embeddings", 8192);
  return scaling;
}

void check_sizes(const ModelConfig& c, const Json& json) {
  if (c.heads % c.key_value_heads != 0) {
    throw Failure("model-config", fmt::format("{} attention heads cannot share {} key-value heads",
                                              c.heads, c.key_value_heads));
  }
  if (c.head_size % 2 != 0) {
    throw Failure("model-config",
                  fmt::format("a head of {} dimensions cannot be rotated in pairs", c.head_size));
  }
  const std::string activation = json.value("hidden_act", std::string("silu"));
  if (activation != "silu" && activation != "swish") {
    throw Failure("model-config", fmt::format("hidden_act {} is not supported", activation),
                  "silu is");
  }
  if (flag(json, "use_sliding_window", false)) {
    throw Failure("model-config", "use_sliding_window is not supported",
                  "set it to false where the sequences are shorter than the window");
  }
}

std::vector<std::int64_t> end_tokens_of(const Json& json) {
  if (!json.contains("eos_token_id") || json["eos_token_id"].is_null()) return {};
  const Json& eos = json["eos_token_id"];
  if (eos.is_array()) return eos.get<std::vector<std::int64_t>>();
  return {eos.get<std::int64_t>()};
}

/// Keeps the form of an entry that already says the same.
template <class T>
void put(Json& json, const char* key, const T& value) {
  if (!json.contains(key) || json[key].is_null() || json[key].template get<T>() != value) {
    json[key] = value;
  }
}

}  // namespace

std::vector<std::string> known_architectures() {
  return {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"};
}

ModelConfig model_config(const Json& json) {
  if (!json.is_object()) throw Failure("model-config", "config.json is not an object");
  ModelConfig c;
  c.source = json;
  c.architecture = architecture_of(json);
  const auto known = known_architectures();
  if (std::find(known.begin(), known.end(), c.architecture) == known.end()) {
    throw Failure("model-architecture", fmt::format("the network {} is not known", c.architecture),
                  "known are " + listed(known, "and"));
  }
  c.vocab_size = positive(json, "vocab_size");
  c.hidden_size = positive(json, "hidden_size");
  c.intermediate_size = positive(json, "intermediate_size");
  c.layers = positive(json, "num_hidden_layers");
  c.heads = positive(json, "num_attention_heads");
  c.key_value_heads = positive(json, "num_key_value_heads", c.heads);
  c.head_size = positive(json, "head_dim", std::max<std::int64_t>(1, c.hidden_size / c.heads));
  c.max_positions = positive(json, "max_position_embeddings", 2048);
  c.rms_epsilon = number(json, "rms_norm_eps", 1e-6);
  c.rope_theta = number(json, "rope_theta", 10000.0);
  c.rope_scaling = rope_scaling_of(json);
  c.tied_embeddings = flag(json, "tie_word_embeddings", false);
  c.initializer_range = number(json, "initializer_range", 0.02);
  c.end_tokens = end_tokens_of(json);
  apply_architecture(c, json);
  check_sizes(c, json);
  return c;
}

ModelConfig read_model_config(const std::filesystem::path& folder) {
  try {
    return model_config(read_json(folder / "config.json"));
  } catch (const Failure& failure) {
    throw failure.at({(folder / "config.json").string(), "", ""});
  }
}

Json to_json(const ModelConfig& c) {
  Json json = c.source;
  if (!json.contains("architectures")) json["architectures"] = {c.architecture};
  put(json, "vocab_size", c.vocab_size);
  put(json, "hidden_size", c.hidden_size);
  put(json, "intermediate_size", c.intermediate_size);
  put(json, "num_hidden_layers", c.layers);
  put(json, "num_attention_heads", c.heads);
  put(json, "num_key_value_heads", c.key_value_heads);
  if (json.contains("head_dim") || c.head_size * c.heads != c.hidden_size) {
    put(json, "head_dim", c.head_size);
  }
  put(json, "max_position_embeddings", c.max_positions);
  put(json, "rms_norm_eps", c.rms_epsilon);
  put(json, "rope_theta", c.rope_theta);
  put(json, "tie_word_embeddings", c.tied_embeddings);
  return json;
}

std::vector<WeightShape> weight_shapes(const ModelConfig& c) {
  std::vector<WeightShape> list{{"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}}};
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = fmt::format("model.layers.{}.", i);
    const auto linear = [&](const char* name, std::int64_t out, std::int64_t in, bool bias) {
      list.push_back({at + name + ".weight", {out, in}});
      if (bias) list.push_back({at + name + ".bias", {out}});
    };
    list.push_back({at + "input_layernorm.weight", {c.hidden_size}});
    linear("self_attn.q_proj", c.query_width(), c.hidden_size, c.query_key_value_bias);
    linear("self_attn.k_proj", c.key_value_width(), c.hidden_size, c.query_key_value_bias);
    linear("self_attn.v_proj", c.key_value_width(), c.hidden_size, c.query_key_value_bias);
    if (c.query_key_norm) {
      list.push_back({at + "self_attn.q_norm.weight", {c.head_size}});
      list.push_back({at + "self_attn.k_norm.weight", {c.head_size}});
    }
    linear("self_attn.o_proj", c.hidden_size, c.query_width(), c.output_bias);
    list.push_back({at + "post_attention_layernorm.weight", {c.hidden_size}});
    linear("mlp.gate_proj", c.intermediate_size, c.hidden_size, c.feed_forward_bias);
    linear("mlp.up_proj", c.intermediate_size, c.hidden_size, c.feed_forward_bias);
    linear("mlp.down_proj", c.hidden_size, c.intermediate_size, c.feed_forward_bias);
  }
  list.push_back({"model.norm.weight", {c.hidden_size}});
  if (!c.tied_embeddings) list.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}});
  return list;
}

std::int64_t ModelConfig::parameter_count() const {
  std::int64_t total = 0;
  for (const WeightShape& weight : weight_shapes(*this)) {
    std::int64_t count = 1;
    for (const std::int64_t size : weight.shape) count *= size;
    total += count;
  }
  return total;
}

std::vector<double> rotary_frequencies(const ModelConfig& c) {
  std::vector<double> list;
  for (std::int64_t i = 0; i < c.head_size; i += 2) {
    double frequency = std::pow(c.rope_theta, -static_cast<double>(i) / c.head_size);
    if (c.rope_scaling) {
      const RopeScaling& s = *c.rope_scaling;
      const double turns = s.original_positions * frequency / (2 * std::numbers::pi);
      const double blend = std::clamp(
          (turns - s.low_frequency_factor) / (s.high_frequency_factor - s.low_frequency_factor),
          0.0, 1.0);
      frequency *= blend + (1 - blend) / s.factor;
    }
    list.push_back(frequency);
  }
  return list;
}

}  // namespace rewardloom
