#include "nodes/text/sentence_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/core/problem.h"
#include "engine/io/jsonl.h"
#include "nodes/text/weight_checks.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;

/// The last part of "sentence_transformers.models.Pooling".
std::string module_kind(const Json& module) {
  const std::string type = module.value("type", "");
  return type.substr(type.rfind('.') + 1);
}

Pooling pooling_of(const Json& json) {
  std::vector<std::string> modes;
  if (json.contains("pooling_mode") && json["pooling_mode"].is_string()) {
    modes.push_back(json["pooling_mode"].get<std::string>());
  }
  for (const auto& [key, value] : json.items()) {
    if (key.starts_with("pooling_mode_") && value == true) {
      modes.push_back(key.substr(std::string("pooling_mode_").size()));
    }
  }
  if (modes.size() == 1) {
    const std::string mode = modes[0].substr(0, modes[0].find("_token"));
    if (mode == "mean") return Pooling::mean;
    if (mode == "cls") return Pooling::cls;
    if (mode == "max") return Pooling::max;
  }
  throw Failure("encoder",
                fmt::format("pooling by {} is not supported",
                            modes.empty() ? "nothing" : listed(modes, "and")),
                "one of mean, cls and max is");
}

void read_modules(const fs::path& folder, EmbeddingOptions& options) {
  const fs::path path = folder / "modules.json";
  if (!fs::exists(path)) return;
  for (const Json& module : read_json(path)) {
    const std::string kind = module_kind(module);
    if (kind == "Pooling") {
      options.pooling = pooling_of(read_json(folder / module.value("path", "") / "config.json"));
    } else if (kind == "Normalize") {
      options.normalise = true;
    } else if (kind != "Transformer") {
      throw Failure("encoder",
                    fmt::format("the module {} of {} is not supported", kind, path.string()),
                    "Transformer, Pooling and Normalize are");
    }
  }
}

/// An entry of a JSON file that is a sensible length, if there is one.
std::optional<std::int64_t> length_in(const fs::path& path, const char* key) {
  if (!fs::exists(path)) return std::nullopt;
  const Json json = read_json(path);
  if (!json.contains(key) || !json[key].is_number()) return std::nullopt;
  const double length = json[key].get<double>();
  if (length < 3 || length > 1e9) return std::nullopt;
  return static_cast<std::int64_t>(length);
}

}  // namespace

at::Tensor pooled(const at::Tensor& hidden, const at::Tensor& mask, Pooling pooling) {
  if (pooling == Pooling::cls) return hidden.select(1, 0);
  const at::Tensor there = mask.unsqueeze(-1);
  if (pooling == Pooling::max) {
    return hidden.masked_fill(there.logical_not(), -std::numeric_limits<float>::infinity()).amax(1);
  }
  const at::Tensor weight = there.to(hidden.scalar_type());
  return (hidden * weight).sum(1) / weight.sum(1).clamp_min(1e-9);
}

at::Tensor unit_rows(const at::Tensor& rows) {
  return rows / rows.norm(2, {1}, true).clamp_min(1e-12);
}

EmbeddingOptions embedding_options(const fs::path& folder, const EncoderConfig& config) {
  EmbeddingOptions options;
  options.max_tokens = config.max_positions;
  try {
    const auto stated = length_in(folder / "sentence_bert_config.json", "max_seq_length");
    const auto usual = length_in(folder / "tokenizer_config.json", "model_max_length");
    if (stated || usual)
      options.max_tokens = std::min(config.max_positions, stated ? *stated : *usual);
    read_modules(folder, options);
  } catch (const Json::exception& error) {
    throw Failure("encoder", fmt::format("the settings in {} cannot be read: {}", folder.string(),
                                         error.what()));
  }
  return options;
}

SentenceEncoder::SentenceEncoder(EncoderConfig config, WeightMap weights,
                                 std::shared_ptr<const Tokenizer> tokenizer,
                                 EmbeddingOptions options)
    : config_(std::move(config)),
      weights_(std::move(weights)),
      tokenizer_(std::move(tokenizer)),
      options_(options) {
  if (tokenizer_->size() <= config_.vocab_size) return;
  throw Failure("model-tokenizer",
                fmt::format("the tokenizer has {} tokens, the encoder {}", tokenizer_->size(),
                            config_.vocab_size),
                "encoder and tokenizer must belong together");
}

std::shared_ptr<SentenceEncoder> SentenceEncoder::load(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw Failure("model-source", fmt::format("there is no folder {}", folder.string()),
                  "set model to a folder with config.json, model.safetensors and a tokenizer");
  }
  try {
    EncoderConfig config = encoder_config(read_json(folder / "config.json"));
    WeightMap weights = load_encoder_weights(folder, config);
    const EmbeddingOptions options = embedding_options(folder, config);
    return std::make_shared<SentenceEncoder>(std::move(config), std::move(weights),
                                             load_tokenizer(folder), options);
  } catch (const Failure& failure) {
    throw failure.at({folder.string(), "", ""});
  } catch (const Json::exception& error) {
    throw Failure("model-config", fmt::format("config.json cannot be read: {}", error.what()))
        .at({folder.string(), "", ""});
  }
}

void SentenceEncoder::save(Package& out) const {
  for (const auto& [name, tensor] : weights_) {
    out.tensors[name] = tensor.detach().to(at::kCPU, tensor.scalar_type(), false, true);
  }
}

void SentenceEncoder::load(const Package& in) {
  require_shapes(config_.architecture,
                 encoder_shapes(config_, weights_.contains("pooler.dense.weight")), in.tensors);
  const c10::NoGradGuard no_gradient;
  for (auto& [name, tensor] : weights_) tensor.copy_(in.tensors.at(name));
}

void SentenceEncoder::to(c10::Device device) {
  for (auto& [name, tensor] : weights_) tensor = tensor.to(device);
}

std::vector<std::int64_t> SentenceEncoder::encode(const std::string& text) const {
  std::vector<std::int64_t> ids = tokenizer_->encode_whole(text);
  if (static_cast<std::int64_t>(ids.size()) > options_.max_tokens) {
    const std::int64_t last = ids.back();
    ids.resize(static_cast<std::size_t>(options_.max_tokens));
    ids.back() = last;
  }
  return ids;
}

at::Tensor SentenceEncoder::embed_chunk(const std::vector<std::vector<std::int64_t>>& rows) const {
  const c10::NoGradGuard no_gradient;
  std::size_t longest = 0;
  for (const auto& row : rows) longest = std::max(longest, row.size());
  const std::vector<std::int64_t> shape{static_cast<std::int64_t>(rows.size()),
                                        static_cast<std::int64_t>(longest)};
  at::Tensor tokens = at::full(shape, tokenizer_->special().padding.value_or(0), at::kLong);
  at::Tensor mask = at::zeros(shape, at::kBool);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy(rows[i].begin(), rows[i].end(), tokens.data_ptr<std::int64_t>() + i * longest);
    std::fill_n(mask.data_ptr<bool>() + i * longest, rows[i].size(), true);
  }
  const c10::Device device = weights_.begin()->second.device();
  mask = mask.to(device);
  const at::Tensor hidden = encoder_hidden(config_, weights_, tokens.to(device), mask);
  const at::Tensor rows_out = pooled(hidden, mask, options_.pooling);
  return (options_.normalise ? unit_rows(rows_out) : rows_out).to(at::kCPU);
}

at::Tensor SentenceEncoder::embed(const std::vector<std::string>& texts, std::int64_t chunk,
                                  const ParallelCalls& parallel) const {
  const std::int64_t count = static_cast<std::int64_t>(texts.size());
  std::vector<std::vector<std::int64_t>> ids;
  for (const std::string& text : texts) ids.push_back(encode(text));
  std::vector<std::int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return ids[a].size() < ids[b].size(); });
  at::Tensor out = at::zeros({count, config_.hidden_size});
  parallel(static_cast<std::size_t>((count + chunk - 1) / chunk), [&](std::size_t c) {
    const std::int64_t first = static_cast<std::int64_t>(c) * chunk;
    const std::vector<std::int64_t> chosen(order.begin() + first,
                                           order.begin() + std::min(count, first + chunk));
    std::vector<std::vector<std::int64_t>> rows;
    for (const std::int64_t i : chosen) rows.push_back(ids[i]);
    out.index_copy_(0, at::tensor(chosen, at::TensorOptions().dtype(at::kLong)), embed_chunk(rows));
  });
  return out;
}

}  // namespace rewardloom
