#include "nodes/text/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "engine/core/problem.h"
#include "engine/io/jsonl.h"
#include "nodes/text/operator_layers.h"
#include "nodes/text/weight_names.h"

namespace rewardloom {

namespace {

/// The entries of a config.json, each under the names that it has in different families.
class Entries {
 public:
  using Keys = std::initializer_list<const char*>;
  explicit Entries(const Json& json) : json_(json) {}

  const Json* find(Keys keys) const {
    for (const char* key : keys) {
      const auto found = json_.find(key);
      if (found != json_.end() && !found->is_null()) return &*found;
    }
    return nullptr;
  }
  bool has(const char* key) const { return find({key}) != nullptr; }

  std::int64_t positive(Keys keys, std::optional<std::int64_t> otherwise = {}) const {
    const Json* const value = find(keys);
    if (value == nullptr) {
      if (otherwise) return *otherwise;
      throw Failure("model-config", fmt::format("config.json has no {}", *keys.begin()),
                    "a decoder's config.json states its sizes");
    }
    if (!value->is_number_integer() || value->get<std::int64_t>() <= 0) {
      throw Failure("model-config",
                    fmt::format("{} is {}, not a positive integer", *keys.begin(), value->dump()));
    }
    return value->get<std::int64_t>();
  }

  double number(Keys keys, double otherwise) const {
    const Json* const value = find(keys);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) {
      throw Failure("model-config",
                    fmt::format("{} is {}, not a number", *keys.begin(), value->dump()));
    }
    return value->get<double>();
  }

  bool flag(const char* key, bool otherwise) const {
    const Json* const value = find({key});
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) {
      throw Failure("model-config", fmt::format("{} is {}, not true or false", key, value->dump()));
    }
    return value->get<bool>();
  }

  std::string text(Keys keys, const std::string& otherwise) const {
    const Json* const value = find(keys);
    if (value == nullptr) return otherwise;
    if (!value->is_string()) {
      throw Failure("model-config",
                    fmt::format("{} is {}, not a text", *keys.begin(), value->dump()));
    }
    return value->get<std::string>();
  }

 private:
  const Json& json_;
};

struct Family {
  const char* name;  ///< begins its architectures' names
  const char* model_type;
  const char* language_model;  ///< ends that of its language model
  std::int64_t max_positions;  ///< what the family's config class holds where the file says nothing
  std::int64_t head_size;      ///< 0: hidden_size / heads
  bool tied;
};
constexpr Family families[]{
    {"Llama", "llama", "ForCausalLM", 2048, 0, false},
    {"Mistral", "mistral", "ForCausalLM", 131072, 0, false},
    {"Qwen2", "qwen2", "ForCausalLM", 32768, 0, false},
    {"Qwen3", "qwen3", "ForCausalLM", 32768, 128, false},
    {"GPT2", "gpt2", "LMHeadModel", 1024, 0, true},
    {"Gemma2", "gemma2", "ForCausalLM", 8192, 256, true},
};
constexpr const char* sequence_head = "ForSequenceClassification";
constexpr const char* token_head = "ForTokenClassification";

std::string name_of(const Family& family, HeadKind head) {
  switch (head) {
    case HeadKind::sequence: return std::string(family.name) + sequence_head;
    case HeadKind::token: return std::string(family.name) + token_head;
    case HeadKind::language_model: break;
  }
  return std::string(family.name) + family.language_model;
}

struct Architecture {
  const Family* family;
  HeadKind head;
};

std::string stated_architecture(const Json& json) {
  const auto list = json.find("architectures");
  if (list != json.end() && list->is_array() && !list->empty() && (*list)[0].is_string()) {
    return (*list)[0].get<std::string>();
  }
  const std::string type = Entries(json).text({"model_type"}, "");
  for (const Family& family : families) {
    if (type == family.model_type) return name_of(family, HeadKind::language_model);
  }
  return type.empty() ? "(no architectures entry)" : type;
}

Architecture architecture_of(const std::string& name) {
  for (const Family& family : families) {
    for (const HeadKind head : {HeadKind::language_model, HeadKind::sequence, HeadKind::token}) {
      if (name == name_of(family, head)) return {&family, head};
    }
  }
  throw Failure("model-architecture", fmt::format("the network {} is not known", name),
                "known are " + listed(known_architectures(), "and"));
}

std::optional<RopeScaling> rope_scaling_of(const Entries& config) {
  const Json* const given = config.find({"rope_scaling", "rope_parameters"});
  if (given == nullptr) return std::nullopt;
  if (!given->is_object()) {
    throw Failure("model-config", fmt::format("rope_scaling is {}, not an object", given->dump()));
  }
  const Entries s(*given);
  const std::string type = s.text({"rope_type", "type"}, "default");
  if (type == "default") return std::nullopt;
  RopeScaling scaling;
  scaling.factor = s.number({"factor"}, 1.0);
  if (scaling.factor < 1.0) {
    throw Failure("model-config",
                  fmt::format("the factor {} of rope_scaling is below 1", scaling.factor));
  }
  if (type == "linear") {
    scaling.kind = RopeScalingKind::linear;
    return scaling;
  }
  if (type != "llama3") {
    throw Failure("model-config", fmt::format("rope_scaling of type {} is not supported", type),
                  "default, linear and llama3 are");
  }
  scaling.low_frequency_factor = s.number({"low_freq_factor"}, 1.0);
  scaling.high_frequency_factor = s.number({"high_freq_factor"}, 4.0);
  scaling.original_positions = s.number({"original_max_position_embeddings"}, 8192);
  if (scaling.high_frequency_factor <= scaling.low_frequency_factor) {
    throw Failure("model-config",
                  fmt::format("high_freq_factor {} is not above low_freq_factor {}",
                              scaling.high_frequency_factor, scaling.low_frequency_factor));
  }
  return scaling;
}

void read_rope(ModelConfig& c, const Entries& config) {
  c.rope_theta = config.number({"rope_theta"}, 10000.0);
  if (const Json* const parameters = config.find({"rope_parameters"})) {
    if (parameters->is_object()) {
      c.rope_theta = Entries(*parameters).number({"rope_theta"}, c.rope_theta);
    }
  }
  c.rope_scaling = rope_scaling_of(config);
}

/// Which layers see a window: `layer_types` where the file has it, else the family's own rule.
void read_windows(ModelConfig& c, const Entries& config, const Family& family) {
  c.windowed.assign(c.layers, false);
  const std::string type = family.model_type;
  const bool qwen = type == "qwen2" || type == "qwen3";
  if (type == "llama" || type == "gpt2") return;
  if (qwen && !config.flag("use_sliding_window", false)) return;
  if (type != "gemma2" && !config.has("sliding_window")) return;
  c.sliding_window = config.positive({"sliding_window"}, 4096);
  if (const Json* const types = config.find({"layer_types"})) {
    if (!types->is_array() || static_cast<std::int64_t>(types->size()) != c.layers) {
      throw Failure("model-config",
                    fmt::format("layer_types does not name each of {} layers", c.layers));
    }
    for (std::int64_t i = 0; i < c.layers; ++i) {
      c.windowed[i] = (*types)[i] == "sliding_attention";
    }
    return;
  }
  const std::int64_t first =
      qwen ? static_cast<std::int64_t>(config.number({"max_window_layers"}, 28)) : 0;
  for (std::int64_t i = 0; i < c.layers; ++i) {
    c.windowed[i] = type == "gemma2" ? i % 2 == 0 : i >= first;
  }
}

void read_gpt2(ModelConfig& c, const Entries& config) {
  c.layout = WeightLayout::gpt2;
  c.positions = PositionKind::learned;
  c.norm = NormKind::layer;
  c.gated = false;
  c.query_key_value_bias = c.output_bias = c.feed_forward_bias = true;
  c.activation = activation_of(config.text({"activation_function", "hidden_act"}, "gelu_new"));
  for (const char* key : {"scale_attn_by_inverse_layer_idx", "add_cross_attention"}) {
    if (!config.flag(key, false)) continue;
    throw Failure("model-config", fmt::format("{} is not supported", key));
  }
  if (!config.flag("scale_attn_weights", true)) c.attention_scale = 1.0;
}

void read_gemma2(ModelConfig& c, const Entries& config) {
  c.layout = WeightLayout::gemma2;
  c.norm = NormKind::rms_plus_one;
  c.norms_after = true;
  c.activation = activation_of(config.text({"hidden_activation"}, "gelu_pytorch_tanh"));
  c.embedding_scale = std::sqrt(static_cast<double>(c.hidden_size));
  c.attention_scale = 1.0 / std::sqrt(config.number({"query_pre_attn_scalar"}, 256.0));
  c.query_key_value_bias = c.output_bias = config.flag("attention_bias", false);
  // Where the file has the entry, null means no cap.
  const auto cap = [&](const char* key, double otherwise) {
    return c.source.contains(key) && c.source[key].is_null() ? 0.0
                                                             : config.number({key}, otherwise);
  };
  c.attention_cap = cap("attn_logit_softcapping", 50.0);
  c.logit_cap = c.head == HeadKind::language_model ? cap("final_logit_softcapping", 30.0) : 0.0;
}

void read_llama(ModelConfig& c, const Entries& config, const std::string& type) {
  const bool attention_bias = config.flag("attention_bias", false);
  c.query_key_value_bias = type == "qwen2" || attention_bias;
  c.output_bias = type != "qwen2" && attention_bias;
  c.feed_forward_bias = type == "llama" && config.flag("mlp_bias", false);
  c.query_key_norm = type == "qwen3";
  c.activation = activation_of(config.text({"hidden_act"}, "silu"));
}

void read_sizes(ModelConfig& c, const Entries& config, const Family& family) {
  c.vocab_size = config.positive({"vocab_size"});
  c.hidden_size = config.positive({"hidden_size", "n_embd"});
  c.layers = config.positive({"num_hidden_layers", "n_layer"});
  c.heads = config.positive({"num_attention_heads", "n_head"});
  c.max_positions =
      config.positive({"max_position_embeddings", "n_positions", "n_ctx"}, family.max_positions);
  const std::int64_t share = std::max<std::int64_t>(1, c.hidden_size / c.heads);
  if (std::string(family.model_type) == "gpt2") {
    c.intermediate_size = config.positive({"intermediate_size", "n_inner"}, 4 * c.hidden_size);
    c.key_value_heads = c.heads;
    c.head_size = share;
    return;
  }
  c.intermediate_size = config.positive({"intermediate_size"});
  c.key_value_heads = config.positive({"num_key_value_heads"}, c.heads);
  c.head_size = config.positive({"head_dim"}, family.head_size > 0 ? family.head_size : share);
}

std::int64_t labels_of(const Entries& config) {
  if (const Json* const names = config.find({"id2label"})) {
    if (names->is_object() && !names->empty()) return static_cast<std::int64_t>(names->size());
  }
  return config.positive({"num_labels"}, 2);
}

/// As config classes of encoders call them: use_bidirectional_attention, classifier_pooling.
void read_attention(ModelConfig& c, const Entries& config) {
  c.bidirectional = config.flag("use_bidirectional_attention", false);
  const std::string pooling = config.text({"classifier_pooling"}, "last");
  if (pooling != "last" && pooling != "mean") {
    throw Failure("model-config", fmt::format("classifier_pooling is \"{}\"", pooling),
                  "last and mean are supported");
  }
  c.pooling = pooling == "mean" ? ScorePooling::mean : ScorePooling::last;
}

void check_sizes(const ModelConfig& c) {
  if (c.heads % c.key_value_heads != 0) {
    throw Failure("model-config", fmt::format("{} attention heads cannot share {} key-value heads",
                                              c.heads, c.key_value_heads));
  }
  if (c.positions == PositionKind::rotary && c.head_size % 2 != 0) {
    throw Failure("model-config",
                  fmt::format("a head of {} dimensions cannot be rotated in pairs", c.head_size));
  }
  if (c.layout == WeightLayout::gpt2 && c.head_size * c.heads != c.hidden_size) {
    throw Failure("model-config", fmt::format("{} dimensions do not divide among {} heads",
                                              c.hidden_size, c.heads));
  }
}

std::vector<std::int64_t> end_tokens_of(const Entries& config) {
  const Json* const end = config.find({"eos_token_id"});
  if (end == nullptr) return {};
  try {
    return end->is_array() ? end->get<std::vector<std::int64_t>>()
                           : std::vector<std::int64_t>{end->get<std::int64_t>()};
  } catch (const Json::exception&) {
    throw Failure("model-config", fmt::format("eos_token_id is {}, not a token", end->dump()));
  }
}

/// Keeps the form of an entry that already says the same.
template <class T>
void put(Json& json, const char* key, const T& value) {
  if (!json.contains(key) || json[key].is_null() || json[key].template get<T>() != value) {
    json[key] = value;
  }
}

/// Under the first of `keys` that the file uses, else under the first.
template <class T>
void put_named(Json& json, std::initializer_list<const char*> keys, const T& value) {
  for (const char* key : keys) {
    if (json.contains(key)) return put(json, key, value);
  }
  json[*keys.begin()] = value;
}

void put_labels(Json& json, std::int64_t labels) {
  if (json.contains("id2label") && json["id2label"].is_object() &&
      static_cast<std::int64_t>(json["id2label"].size()) == labels) {
    return;
  }
  Json names = Json::object(), ids = Json::object();
  for (std::int64_t i = 0; i < labels; ++i) {
    names[std::to_string(i)] = fmt::format("LABEL_{}", i);
    ids[fmt::format("LABEL_{}", i)] = i;
  }
  json["id2label"] = std::move(names);
  json["label2id"] = std::move(ids);
  json.erase("num_labels");
}

void put_gpt2_sizes(Json& json, const ModelConfig& c) {
  put_named(json, {"n_embd", "hidden_size"}, c.hidden_size);
  put_named(json, {"n_layer", "num_hidden_layers"}, c.layers);
  put_named(json, {"n_head", "num_attention_heads"}, c.heads);
  put_named(json, {"n_positions", "max_position_embeddings"}, c.max_positions);
  if (c.intermediate_size != 4 * c.hidden_size || json.contains("intermediate_size")) {
    put_named(json, {"n_inner", "intermediate_size"}, c.intermediate_size);
  }
  put(json, "layer_norm_epsilon", c.rms_epsilon);
}

void put_llama_sizes(Json& json, const ModelConfig& c) {
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
  if (!json.contains("rope_parameters")) put(json, "rope_theta", c.rope_theta);
}

}  // namespace

double LoraConfig::scale() const {
  const double r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

bool ModelConfig::has_own_kernels() const {
  const double usual = 1.0 / std::sqrt(static_cast<double>(head_size));
  return layout == WeightLayout::llama && !bidirectional && positions == PositionKind::rotary &&
         norm == NormKind::rms && activation == Activation::silu && gated && !norms_after &&
         attention_cap == 0 && logit_cap == 0 && embedding_scale == 1 && attention_scale == usual;
}

std::vector<std::string> known_architectures() {
  std::vector<std::string> names;
  for (const HeadKind head : {HeadKind::language_model, HeadKind::sequence, HeadKind::token}) {
    for (const Family& family : families) names.push_back(name_of(family, head));
  }
  return names;
}

ModelConfig model_config(const Json& json) {
  if (!json.is_object()) throw Failure("model-config", "config.json is not an object");
  ModelConfig c;
  c.source = json;
  c.architecture = stated_architecture(json);
  const auto [family, head] = architecture_of(c.architecture);
  const Entries config(json);
  const std::string type = family->model_type;
  c.head = head;
  if (head != HeadKind::language_model) c.labels = labels_of(config);
  read_sizes(c, config, *family);
  c.rms_epsilon = type == "gpt2" ? config.number({"layer_norm_epsilon"}, 1e-5)
                                 : config.number({"rms_norm_eps"}, 1e-6);
  c.tied_embeddings = config.flag("tie_word_embeddings", family->tied);
  c.initializer_range = config.number({"initializer_range"}, 0.02);
  c.end_tokens = end_tokens_of(config);
  c.attention_scale = 1.0 / std::sqrt(static_cast<double>(c.head_size));
  if (type == "gpt2") {
    read_gpt2(c, config);
  } else {
    read_rope(c, config);
    if (type == "gemma2") {
      read_gemma2(c, config);
    } else {
      read_llama(c, config, type);
    }
  }
  read_windows(c, config, *family);
  read_attention(c, config);
  check_sizes(c);
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
  put(json, "architectures", std::vector<std::string>{c.architecture});
  put(json, "vocab_size", c.vocab_size);
  if (c.layout == WeightLayout::gpt2) {
    put_gpt2_sizes(json, c);
  } else {
    put_llama_sizes(json, c);
  }
  put(json, "tie_word_embeddings", c.tied_embeddings);
  if (c.head != HeadKind::language_model) put_labels(json, c.labels);
  return json;
}

ModelConfig with_score_head(const ModelConfig& config, HeadKind kind, std::int64_t labels) {
  ModelConfig c = config;
  c.architecture = name_of(*architecture_of(config.architecture).family, kind);
  c.head = kind;
  c.labels = labels;
  c.logit_cap = 0;
  c.source["architectures"] = std::vector<std::string>{c.architecture};
  put_labels(c.source, labels);
  return c;
}

std::int64_t ModelConfig::parameter_count() const {
  std::int64_t total = 0;
  for (const auto& list : {weight_shapes(*this), adapter_shapes(*this)}) {
    for (const WeightShape& weight : list) {
      std::int64_t count = 1;
      for (const std::int64_t size : weight.shape) count *= size;
      total += count;
    }
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
      const double blend = s.kind == RopeScalingKind::linear
                               ? 0.0
                               : std::clamp((turns - s.low_frequency_factor) /
                                                (s.high_frequency_factor - s.low_frequency_factor),
                                            0.0, 1.0);
      frequency *= blend + (1 - blend) / s.factor;
    }
    list.push_back(frequency);
  }
  return list;
}

}  // namespace rewardloom
