#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/text/added_tokens.h"
#include "nodes/text/byte_level.h"
#include "nodes/text/normalizer.h"
#include "nodes/text/post_processor.h"
#include "nodes/text/pre_tokenizer.h"
#include "nodes/text/text_pattern.h"
#include "nodes/text/token_decoder.h"
#include "nodes/text/token_model.h"
#include "nodes/text/tokenizer.h"
#include "nodes/text/tokenizer_config.h"

namespace rewardloom {

namespace {

using Ids = std::vector<std::int64_t>;

std::vector<AddedToken> read_added_tokens(const TokenizerPart& file) {
  std::vector<AddedToken> out;
  if (!file.has("added_tokens")) return out;
  for (const TokenizerPart& entry : file.items("added_tokens")) {
    AddedToken token;
    token.text = entry.text("content");
    token.id = entry.id("id");
    token.special = entry.flag("special", false);
    token.single_word = entry.flag("single_word", false);
    token.lstrip = entry.flag("lstrip", false);
    token.rstrip = entry.flag("rstrip", false);
    token.normalized = entry.flag("normalized", !token.special);
    if (!token.text.empty()) out.push_back(std::move(token));
  }
  return out;
}

class JsonTokenizer final : public Tokenizer {
 public:
  JsonTokenizer(std::string text, const TokenizerPart& file, const Json& config)
      : text_(std::move(text)),
        config_(config),
        model_(read_token_model(file.at("model"))),
        normalizer_(file.at("normalizer")),
        pre_tokenizer_(file.at("pre_tokenizer")),
        decoder_(file.at("decoder")),
        surround_(surround_of(file.at("post_processor"))),
        added_(read_added_tokens(file),
               [this](std::string_view token) { return normalizer_(token); }) {
    model_->vocabulary().each([&](const std::string& token, std::int64_t id) { name(id, token); });
    for (const AddedToken& token : added_.all()) name(token.id, token.text);
    const auto id_of = [this](const std::string& token) { return this->id_of(token); };
    special_ = special_tokens(config_, id_of);
    if (!special_.unknown) special_.unknown = model_->unknown();
    for (const auto* ids : {&surround_.before, &surround_.behind}) {
      for (const std::int64_t id : *ids) text_of(id);
    }
  }

  Ids encode(std::string_view text) const override { return encode_at(text, false); }
  Ids encode_prompt(std::string_view text) const override {
    Ids ids = surround_.before;
    const Ids body = encode(text);
    ids.insert(ids.end(), body.begin(), body.end());
    return ids;
  }
  Ids encode_whole(std::string_view text) const override {
    Ids ids = encode_prompt(text);
    ids.insert(ids.end(), surround_.behind.begin(), surround_.behind.end());
    return ids;
  }
  Ids encode_answer(std::string_view prompt, std::string_view answer) const override {
    const Ids start = encode(prompt);
    const Ids whole = encode(std::string(prompt) + std::string(answer));
    if (whole.size() >= start.size() && std::equal(start.begin(), start.end(), whole.begin())) {
      return {whole.begin() + static_cast<std::ptrdiff_t>(start.size()), whole.end()};
    }
    return encode_at(answer, true);
  }

  std::string decode(const Ids& ids, bool skip_special) const override {
    std::vector<std::string> tokens;
    tokens.reserve(ids.size());
    for (const std::int64_t id : ids) {
      const std::string& token = text_of(id);
      const AddedToken* const added = added_.by_id(id);
      if (added != nullptr && added->special && skip_special) continue;
      if (!token.empty()) tokens.push_back(token);
    }
    return decoder_(std::move(tokens));
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  const SpecialTokens& special() const override { return special_; }
  std::string token_text(std::int64_t id) const override {
    const std::string& token = text_of(id);
    if (added_.by_id(id) != nullptr) return token;
    if (decoder_.is_byte_level()) return bytes_of_level(token);
    return TextPattern::literal("\u2581").replaced(token, " ");
  }
  void save(const std::filesystem::path& folder) const override {
    std::filesystem::create_directories(folder);
    write_durably(folder / "tokenizer.json", text_);
    save_tokenizer_config(folder, config_);
  }

 private:
  void name(std::int64_t id, const std::string& token) {
    if (id >= size()) tokens_.resize(static_cast<std::size_t>(id) + 1);
    tokens_[static_cast<std::size_t>(id)] = token;
  }
  std::optional<std::int64_t> id_of(const std::string& token) const {
    const auto added = added_.id_of(token);
    return added ? added : model_->vocabulary().id_of(token);
  }

  /// Added tokens are cut out, some before and some after the text is normalised; what lies between
  /// them goes through pre-tokenizer and model.
  Ids encode_at(std::string_view given, bool continues) const {
    const std::string text = repaired_utf8(given);
    Ids ids;
    bool first = true;
    for (const AddedTokens::Part& part : added_.cut_raw(text)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        encode_raw(part.text, {first, continues && first}, ids);
      }
      first = false;
    }
    return ids;
  }

  void encode_raw(std::string_view text, PreTokenizer::Position position, Ids& ids) const {
    const std::string normal = normalizer_(text, position.continues);
    for (const AddedTokens::Part& part : added_.cut_normalized(normal)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        for (const std::string& piece : pre_tokenizer_.split(part.text, position)) {
          model_->encode(piece, ids);
        }
      }
      position = {false, false};
    }
  }

  const std::string& text_of(std::int64_t id) const {
    if (id >= 0 && id < size()) return tokens_[static_cast<std::size_t>(id)];
    throw Failure("token-range",
                  fmt::format("token {} is not below the vocabulary size {}", id, size()));
  }

  std::string text_;
  Json config_;
  std::unique_ptr<const TokenModel> model_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  TokenDecoder decoder_;
  Surround surround_;
  AddedTokens added_;
  std::vector<std::string> tokens_;
  SpecialTokens special_;
};

}  // namespace

std::shared_ptr<const Tokenizer> json_tokenizer(const std::string& tokenizer, const Json& config) {
  try {
    const nlohmann::json json = nlohmann::json::parse(tokenizer);
    return std::make_shared<JsonTokenizer>(tokenizer, TokenizerPart(json, ""), config);
  } catch (const nlohmann::json::exception& error) {
    throw Failure("tokenizer", fmt::format("tokenizer.json: {}", error.what()),
                  "fetch the file again: it is damaged");
  }
}

}  // namespace rewardloom
