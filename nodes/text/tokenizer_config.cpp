#include "nodes/text/tokenizer_config.h"

#include <fmt/format.h>

#include <charconv>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/jsonl.h"
#include "nodes/text/tokenizer_part.h"

namespace rewardloom {

namespace fs = std::filesystem;

std::optional<std::string> token_in_config(const Json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return std::nullopt;
  const Json* entry = &config[key];
  if (entry->is_object() && entry->contains("content")) entry = &(*entry)["content"];
  if (!entry->is_string()) return std::nullopt;
  return entry->get<std::string>();
}

SpecialTokens special_tokens(
    const Json& config,
    const std::function<std::optional<std::int64_t>(const std::string&)>& id_of) {
  const auto id = [&](const char* key) -> std::optional<std::int64_t> {
    const auto token = token_in_config(config, key);
    return token ? id_of(*token) : std::nullopt;
  };
  return {id("bos_token"), id("eos_token"), id("pad_token"), id("unk_token"), std::nullopt};
}

std::vector<AddedToken> added_tokens_in_config(const Json& config) {
  std::vector<AddedToken> out;
  if (!config.is_object() || !config.contains("added_tokens_decoder")) return out;
  const Json& entries = config["added_tokens_decoder"];
  const auto refuse = [](const std::string& key) {
    throw Failure("tokenizer", fmt::format("tokenizer_config.json: added_tokens_decoder: {} is no "
                                           "token with a content by its id",
                                           key));
  };
  if (!entries.is_object()) refuse(entries.type_name());
  for (const auto& [key, entry] : entries.items()) {
    AddedToken token;
    const char* const end = key.data() + key.size();
    const auto read = std::from_chars(key.data(), end, token.id);
    const bool is_id =
        read.ec == std::errc() && read.ptr == end && token.id >= 0 && token.id < most_token_ids;
    if (!is_id || !entry.is_object() || !entry.contains("content") ||
        !entry["content"].is_string()) {
      refuse(key);
    }
    const auto flag = [&entry](const char* name) {
      return entry.contains(name) && entry[name].is_boolean() && entry[name].get<bool>();
    };
    token.text = entry["content"].get<std::string>();
    token.special = flag("special");
    token.single_word = flag("single_word");
    token.lstrip = flag("lstrip");
    token.rstrip = flag("rstrip");
    if (!token.text.empty()) out.push_back(std::move(token));
  }
  return out;
}

void save_tokenizer_config(const fs::path& folder, const Json& config) {
  if (config.empty()) return;
  write_durably(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

Json tokenizer_config(const fs::path& path) {
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  const fs::path file = folder / "tokenizer_config.json", map = folder / "special_tokens_map.json",
                 chat = folder / "chat_template.jinja";
  Json config = fs::exists(file) ? read_json(file) : Json::object();
  if (!config.is_object()) {
    throw Failure("tokenizer",
                  fmt::format("{} is a JSON {}, not an object", file.string(), config.type_name()));
  }
  if (fs::exists(map)) {
    const Json more = read_json(map);
    for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
      if (!config.contains(key) && token_in_config(more, key)) config[key] = more[key];
    }
  }
  if (!config.contains("chat_template") && fs::exists(chat))
    config["chat_template"] = read_file(chat);
  return config;
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& path) {
  const Json config = tokenizer_config(path);
  if (!fs::is_directory(path)) {
    const std::string content = read_file(path);
    if (path.extension() == ".model") return sentencepiece_tokenizer(content, config);
    if (path.filename() == "tokenizer_config.json") return character_tokenizer_from(config);
    return json_tokenizer(content, config);
  }
  const fs::path json = path / "tokenizer.json", model = path / "tokenizer.model";
  if (fs::exists(json)) return json_tokenizer(read_file(json), config);
  if (fs::exists(model)) return sentencepiece_tokenizer(read_file(model), config);
  if (config.contains("char_ords")) return character_tokenizer_from(config);
  throw Failure("tokenizer",
                fmt::format("{} has no tokenizer.json, no tokenizer.model, and no "
                            "tokenizer_config.json with char_ords",
                            path.string()),
                "put the model's tokenizer beside its weights");
}

bool begins_twice(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  const auto& begin = tokenizer.special().begin;
  return begin && ids.size() > 1 && ids[0] == *begin && ids[1] == *begin;
}

}  // namespace rewardloom
