#include "nodes/text/encoder_network.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "nodes/text/operator_layers.h"
#include "nodes/text/weight_checks.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

const std::vector<std::string>& known_encoders() {
  static const std::vector<std::string> names{"BertModel", "BertForMaskedLM", "BertForPreTraining"};
  return names;
}

std::int64_t positive(const Json& json, const char* key, std::int64_t otherwise = 0) {
  const Json value = json.value(key, Json(otherwise));
  if (value.is_number_integer() && value.get<std::int64_t>() > 0) return value.get<std::int64_t>();
  throw Failure("model-config", fmt::format("{} is {}, not a positive integer", key, value.dump()),
                "an encoder's config.json states its sizes");
}

std::string architecture_of(const Json& json) {
  const Json list = json.value("architectures", Json());
  if (list.is_array() && !list.empty() && list[0].is_string()) return list[0].get<std::string>();
  return json.value("model_type", "") == "bert" ? "BertModel" : "(no architectures entry)";
}

void require_usual(const Json& json, const char* key, const Json& usual) {
  const Json value = json.value(key, usual);
  if (value.is_null() || value == usual) return;
  throw Failure("model-config", fmt::format("{} {} is not supported", key, value.dump()),
                usual.dump() + " is");
}

std::string encoder_layer_name(std::int64_t index, const char* rest) {
  return fmt::format("encoder.layer.{}.{}", index, rest);
}

at::Tensor attention(const EncoderConfig& c, const WeightMap& w, std::int64_t layer,
                     const at::Tensor& x, const at::Tensor& bias) {
  const auto heads = [&](const char* name) {
    return split_heads(linear(w, encoder_layer_name(layer, name), false, x), c.heads);
  };
  const at::Tensor query = heads("attention.self.query"), key = heads("attention.self.key");
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.hidden_size / c.heads));
  const at::Tensor score = at::matmul(query, key.transpose(-1, -2)) * scale + bias;
  const at::Tensor mixed = at::matmul(score.softmax(-1), heads("attention.self.value"));
  return linear(w, encoder_layer_name(layer, "attention.output.dense"), false, join_heads(mixed));
}

}  // namespace

EncoderConfig encoder_config(const Json& json) {
  if (!json.is_object()) throw Failure("model-config", "config.json is not an object");
  EncoderConfig c;
  c.source = json;
  c.architecture = architecture_of(json);
  const auto& known = known_encoders();
  if (std::find(known.begin(), known.end(), c.architecture) == known.end()) {
    throw Failure("model-architecture", fmt::format("the encoder {} is not known", c.architecture),
                  "known are " + listed(known, "and"));
  }
  require_usual(json, "position_embedding_type", "absolute");
  require_usual(json, "is_decoder", false);
  c.vocab_size = positive(json, "vocab_size");
  c.hidden_size = positive(json, "hidden_size");
  c.intermediate_size = positive(json, "intermediate_size");
  c.layers = positive(json, "num_hidden_layers");
  c.heads = positive(json, "num_attention_heads");
  c.max_positions = positive(json, "max_position_embeddings", 512);
  c.token_types = positive(json, "type_vocab_size", 2);
  c.norm_epsilon = json.value("layer_norm_eps", 1e-12);
  c.activation = activation_of(json.value("hidden_act", "gelu"));
  if (c.hidden_size % c.heads != 0) {
    throw Failure("model-config", fmt::format("{} dimensions do not divide among {} heads",
                                              c.hidden_size, c.heads));
  }
  return c;
}

std::vector<WeightShape> encoder_shapes(const EncoderConfig& c, bool pooler) {
  std::vector<WeightShape> list;
  const std::int64_t d = c.hidden_size, inner = c.intermediate_size;
  const auto affine = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const std::int64_t out = shape[0];
    list.push_back({name + ".weight", std::move(shape)});
    list.push_back({name + ".bias", {out}});
  };
  list.push_back({"embeddings.word_embeddings.weight", {c.vocab_size, d}});
  list.push_back({"embeddings.position_embeddings.weight", {c.max_positions, d}});
  list.push_back({"embeddings.token_type_embeddings.weight", {c.token_types, d}});
  affine("embeddings.LayerNorm", {d});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    for (const char* part : {"query", "key", "value"}) {
      affine(encoder_layer_name(i, "attention.self.") + part, {d, d});
    }
    affine(encoder_layer_name(i, "attention.output.dense"), {d, d});
    affine(encoder_layer_name(i, "attention.output.LayerNorm"), {d});
    affine(encoder_layer_name(i, "intermediate.dense"), {inner, d});
    affine(encoder_layer_name(i, "output.dense"), {d, inner});
    affine(encoder_layer_name(i, "output.LayerNorm"), {d});
  }
  if (pooler) affine("pooler.dense", {d, d});
  return list;
}

WeightMap load_encoder_weights(const fs::path& folder, const EncoderConfig& config) {
  WeightMap weights;
  const std::string prefix = "bert.";
  for (auto& [name, tensor] : read_tensors(folder)) {
    if (name.ends_with("position_ids")) continue;
    if (config.architecture != "BertModel" && name.starts_with("cls.")) continue;
    weights[name.starts_with(prefix) ? name.substr(prefix.size()) : name] = tensor;
  }
  try {
    require_shapes(config.architecture,
                   encoder_shapes(config, weights.contains("pooler.dense.weight")), weights);
  } catch (const Failure& failure) {
    throw failure.at({folder.string(), "", ""});
  }
  return weights;
}

void save_encoder(const fs::path& folder, const EncoderConfig& config, const WeightMap& weights) {
  require_shapes(config.architecture,
                 encoder_shapes(config, weights.contains("pooler.dense.weight")), weights);
  fs::create_directories(folder);
  Package package;
  package.meta["format"] = "pt";
  for (const auto& [name, tensor] : weights) {
    package.tensors[name] = tensor.detach().to(at::kCPU).contiguous();
  }
  write_safetensors(folder / "model.safetensors", package);
  Json json = config.source;
  json["architectures"] = std::vector<std::string>{"BertModel"};
  json["torch_dtype"] = "float32";
  write_durably(folder / "config.json", json.dump(2) + "\n");
}

at::Tensor encoder_hidden(const EncoderConfig& c, const WeightMap& w, const at::Tensor& tokens,
                          const at::Tensor& mask) {
  const auto norm = [&](const std::string& name, const at::Tensor& x) {
    return normed(NormKind::layer, c.norm_epsilon, w, name, x);
  };
  const std::int64_t t = tokens.size(1);
  at::Tensor x = at::embedding(w.at("embeddings.word_embeddings.weight"), tokens) +
                 w.at("embeddings.position_embeddings.weight").narrow(0, 0, t) +
                 w.at("embeddings.token_type_embeddings.weight")[0];
  x = norm("embeddings.LayerNorm", x);
  const at::Tensor bias = at::zeros(mask.sizes(), x.options())
                              .masked_fill(mask.logical_not(), -1e9)
                              .unsqueeze(1)
                              .unsqueeze(1);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    x = norm(encoder_layer_name(i, "attention.output.LayerNorm"), x + attention(c, w, i, x, bias));
    const at::Tensor inner =
        activated(c.activation, linear(w, encoder_layer_name(i, "intermediate.dense"), false, x));
    x = norm(encoder_layer_name(i, "output.LayerNorm"),
             x + linear(w, encoder_layer_name(i, "output.dense"), false, inner));
  }
  return x;
}

}  // namespace rewardloom
