#include <fmt/format.h>

#include <map>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

namespace {

constexpr std::int64_t separator = 0, end = 1, padding = 2, unknown = 3, first_character = 4;
constexpr const char* special_texts[] = {"S", "E", "P", "U"};

class CharacterTokenizer final : public Tokenizer {
 public:
  explicit CharacterTokenizer(Json config) : config_(std::move(config)) {
    if (!config_.contains("char_ords") || !config_["char_ords"].is_array()) {
      throw Failure("tokenizer", "the tokenizer_config.json has no list char_ords");
    }
    for (const Json& ord : config_["char_ords"]) {
      const char32_t c = ord.get<char32_t>();
      if (!ids_.emplace(c, first_character + static_cast<std::int64_t>(characters_.size()))
               .second) {
        throw Failure("tokenizer",
                      fmt::format("char_ords holds {} twice", static_cast<std::uint32_t>(c)));
      }
      characters_.push_back(c);
    }
    special_ = {std::nullopt, end, padding, unknown, separator};
  }

  std::vector<std::int64_t> encode(std::string_view text) const override {
    std::vector<std::int64_t> ids;
    for (const char32_t c : code_points(text)) {
      const auto found = ids_.find(c);
      ids.push_back(found == ids_.end() ? unknown : found->second);
    }
    return ids;
  }
  std::vector<std::int64_t> encode_prompt(std::string_view text) const override {
    std::vector<std::int64_t> ids = encode(text);
    ids.push_back(separator);
    return ids;
  }
  std::vector<std::int64_t> encode_answer(std::string_view,
                                          std::string_view answer) const override {
    return encode(answer);
  }

  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special) const override {
    std::string text;
    for (const std::int64_t id : ids) {
      if (id < first_character && id >= 0 && skip_special) continue;
      text += token_text(id);
    }
    return text;
  }
  std::string token_text(std::int64_t id) const override {
    if (id < 0 || id >= size()) {
      throw Failure("token-range",
                    fmt::format("token {} is not below the vocabulary size {}", id, size()));
    }
    if (id < first_character) return fmt::format("<{}>", special_texts[id]);
    std::string text;
    append_utf8(text, characters_[id - first_character]);
    return text;
  }

  std::int64_t size() const override {
    return first_character + static_cast<std::int64_t>(characters_.size());
  }
  const SpecialTokens& special() const override { return special_; }
  void save(const std::filesystem::path& folder) const override {
    std::filesystem::create_directories(folder);
    write_durably(folder / "tokenizer_config.json", config_.dump(4) + "\n");
  }

 private:
  Json config_;
  std::vector<char32_t> characters_;
  std::map<char32_t, std::int64_t> ids_;
  SpecialTokens special_;
};

}  // namespace

std::shared_ptr<const Tokenizer> character_tokenizer(std::string_view characters) {
  Json config = Json::object();
  Json ords = Json::array();
  for (const char32_t c : code_points(characters)) ords.push_back(static_cast<std::uint32_t>(c));
  config["char_ords"] = std::move(ords);
  config["model_max_length"] = 2048;
  config["chat_template"] =
      "{% for message in messages %}{{ message['content'] }}{% endfor %}"
      "{% if add_generation_prompt %}{{ sep_token }}{% endif %}";
  return character_tokenizer_from(config);
}

std::shared_ptr<const Tokenizer> character_tokenizer_from(const Json& config) {
  return std::make_shared<CharacterTokenizer>(config);
}

}  // namespace rewardloom
