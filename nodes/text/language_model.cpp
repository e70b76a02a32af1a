#include "nodes/text/language_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "engine/core/problem.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

void LanguageModel::save(Package& out) const {
  // Copies: training goes on while a checkpoint is written.
  for (const auto& [name, tensor] : decoder_.weights()) {
    out.tensors[name] = tensor.detach().to(at::kCPU, tensor.scalar_type(), false, true);
  }
}

void LanguageModel::load(const Package& in) { decoder_.assign(in.tensors); }

std::shared_ptr<LanguageModel> LanguageModel::copy() const {
  auto twin = std::make_shared<LanguageModel>(decoder_.copy(), tokenizer_, folder_);
  twin->set_weight_version(weight_version());
  return twin;
}

std::shared_ptr<LanguageModel> LanguageModel::with_score_head(HeadKind kind, std::int64_t labels,
                                                              const NewHead& head) const {
  return std::make_shared<LanguageModel>(decoder_.with_score_head(kind, labels, head), tokenizer_,
                                         folder_);
}

std::vector<std::int64_t> LanguageModel::end_tokens() const {
  std::vector<std::int64_t> list = decoder_.config().end_tokens;
  const auto& end = tokenizer_->special().end;
  if (end && std::find(list.begin(), list.end(), *end) == list.end()) list.push_back(*end);
  return list;
}

std::int64_t LanguageModel::padding_token() const {
  const SpecialTokens& special = tokenizer_->special();
  if (special.padding) return *special.padding;
  const std::vector<std::int64_t> ends = end_tokens();
  return ends.empty() ? 0 : ends.front();
}

namespace {

namespace fs = std::filesystem;

/// What a small model needs besides its sizes.
Json default_config() {
  Json json = Json::object();
  json["architectures"] = {"LlamaForCausalLM"};
  json["model_type"] = "llama";
  json["hidden_act"] = "silu";
  json["hidden_size"] = 64;
  json["intermediate_size"] = 176;
  json["num_hidden_layers"] = 2;
  json["num_attention_heads"] = 4;
  json["num_key_value_heads"] = 4;
  json["max_position_embeddings"] = 512;
  json["rms_norm_eps"] = 1e-6;
  json["rope_theta"] = 10000.0;
  json["tie_word_embeddings"] = false;
  json["initializer_range"] = 0.02;
  return json;
}

ModelConfig config_of(const ModelSource& source, const Tokenizer& tokenizer) {
  Json json = source.folder.empty() ? default_config() : read_model_config(source.folder).source;
  if (source.folder.empty()) {
    json["vocab_size"] = tokenizer.size();
    if (tokenizer.special().end) json["eos_token_id"] = *tokenizer.special().end;
    if (tokenizer.special().padding) json["pad_token_id"] = *tokenizer.special().padding;
  }
  if (source.config.is_object()) {
    // A new model of another family is named by its model_type alone.
    const bool family = source.config.contains("model_type");
    if (source.folder.empty() && family) json.erase("architectures");
    json.update(source.config);
  }
  return model_config(json);
}

void require_language_model(const ModelConfig& config) {
  if (config.head == HeadKind::language_model) return;
  throw Failure("model-head", fmt::format("{} is no language model", config.architecture),
                "open it with model.reward or model.value");
}

/// The config with the head that is wanted, and whether that head is new.
bool fit_head(ModelConfig& config, const ScoreHead& head) {
  if (config.head == HeadKind::language_model) {
    config = with_score_head(config, head.kind, head.labels);
    return true;
  }
  if (config.labels != head.labels) {
    throw Failure("model-head",
                  fmt::format("the head of {} has {} outputs, {} are wanted", config.architecture,
                              config.labels, head.labels),
                  "set the number of outputs to that of the model");
  }
  return false;
}

WeightMap weights_of(const ModelSource& source, const ModelConfig& config, bool new_head) {
  const RandomKey key{source.seed, hash_name("weights"), 0};
  const NewHead head{new_head && source.head->zeros, key};
  if (!source.random) {
    return load_weights(source.folder, config, new_head ? std::optional(head) : std::nullopt);
  }
  WeightMap weights = random_weights(config, key);
  if (new_head) {
    for (const auto& [name, tensor] : head_weights(config, head)) weights[name] = tensor;
  }
  return weights;
}

void add_adapters(const ModelSource& source, ModelConfig& config, WeightMap& weights) {
  if (!source.adapter.empty() && source.lora) {
    throw Failure("lora", "adapters are both read and made anew", "set adapter or lora, not both");
  }
  if (!source.adapter.empty()) config = load_adapters(source.adapter, config, weights);
  if (!source.lora) return;
  config = with_adapters(config, *source.lora);
  weights.merge(new_adapters(config, {source.seed, hash_name("adapters"), 0}));
}

}  // namespace

namespace {

/// What a model is, but for its weights.
struct Outline {
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
  bool new_head = false;
};

Outline outline_of(const ModelSource& source) {
  if (source.folder.empty() && (!source.random || source.characters.empty())) {
    throw Failure("model-source", "neither a folder nor a new model is given",
                  "set model to a Hugging Face folder, or init to random and characters to the "
                  "alphabet of a new model");
  }
  if (!source.folder.empty() && !fs::is_directory(source.folder)) {
    throw Failure("model-source", fmt::format("there is no folder {}", source.folder),
                  "set model to a folder with config.json, model.safetensors and a tokenizer");
  }
  Outline outline;
  outline.tokenizer = source.characters.empty() ? load_tokenizer(source.folder)
                                                : character_tokenizer(source.characters);
  ModelConfig& config = outline.config;
  config = config_of(source, *outline.tokenizer);
  config.compute = source.compute;
  config.recomputes_layers = source.recomputes_layers;
  if (outline.tokenizer->size() > config.vocab_size) {
    throw Failure("model-tokenizer",
                  fmt::format("the tokenizer has {} tokens, the model {}",
                              outline.tokenizer->size(), config.vocab_size),
                  "model and tokenizer must belong together");
  }
  if (source.head) {
    outline.new_head = fit_head(config, *source.head);
  } else {
    require_language_model(config);
  }
  return outline;
}

}  // namespace

std::shared_ptr<LanguageModel> make_language_model(const ModelSource& source) {
  Outline outline = outline_of(source);
  WeightMap weights = weights_of(source, outline.config, outline.new_head);
  add_adapters(source, outline.config, weights);
  Decoder decoder(std::move(outline.config), std::move(weights));
  if (source.device != decoder.device()) decoder.to(source.device);
  return std::make_shared<LanguageModel>(std::move(decoder), outline.tokenizer, source.folder);
}

std::shared_ptr<const LanguageModelFacts> model_facts(const ModelSource& source, TrainedPart part) {
  Outline outline = outline_of(source);
  WeightMap adapters;
  if (!source.adapter.empty()) {
    outline.config = load_adapters(source.adapter, outline.config, adapters);
  } else if (source.lora) {
    outline.config = with_adapters(outline.config, *source.lora);
  }
  auto facts = std::make_shared<LanguageModelFacts>();
  facts->config = std::move(outline.config);
  facts->tokenizer = outline.tokenizer;
  facts->part = part;
  facts->device = source.device;
  return facts;
}

}  // namespace rewardloom
