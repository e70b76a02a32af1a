#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "engine/io/jsonl.h"
#include "nodes/text/byte_pairs.h"
#include "nodes/text/pre_tokenizer.h"
#include "nodes/text/tokenizer.h"

namespace rewardloom {

namespace {

namespace fs = std::filesystem;
using Parsed = nlohmann::json;

[[noreturn]] void unsupported(const char* part, const Parsed& component) {
  throw Failure(
      "tokenizer",
      fmt::format("the {} {} is not supported", part, component.value("type", component.dump())),
      "BPE with byte fallback or at byte level is, as Llama 2 and Qwen have it");
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t i = text.find(from); i != std::string::npos;
       i = text.find(from, i + to.size())) {
    text.replace(i, from.size(), to);
  }
  return text;
}

/// The components of a Sequence, or the component itself; nothing for null.
std::vector<Parsed> parts_of(const Parsed& component, const char* list) {
  if (component.is_null()) return {};
  if (component.value("type", "") != "Sequence") return {component};
  return component.at(list).get<std::vector<Parsed>>();
}

struct AddedToken {
  std::string text;
  std::int64_t id;
  bool special;
};

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(std::string text, const Parsed& json, const Json& config)
      : text_(std::move(text)),
        config_(config),
        pairs_(json.at("model")),
        pre_tokenizer_(parts_of(json.value("pre_tokenizer", Parsed()), "pretokenizers")) {
    for (const auto& [token, id] : pairs_.vocabulary()) name(id, token);
    read_added_tokens(json.value("added_tokens", Parsed::array()));
    read_normalizer(json.value("normalizer", Parsed()));
    read_decoder(json.value("decoder", Parsed()));
    read_post_processor(json.value("post_processor", Parsed()));
    special_.begin = id_in_config("bos_token");
    special_.end = id_in_config("eos_token");
    special_.padding = id_in_config("pad_token");
    special_.unknown = id_in_config("unk_token");
  }

  std::vector<std::int64_t> encode(std::string_view text) const override {
    return encode_with(text, prefix_);
  }
  std::vector<std::int64_t> encode_prompt(std::string_view text) const override {
    std::vector<std::int64_t> ids = before_;
    const std::vector<std::int64_t> body = encode(text);
    ids.insert(ids.end(), body.begin(), body.end());
    return ids;
  }
  std::vector<std::int64_t> encode_answer(std::string_view prompt,
                                          std::string_view answer) const override {
    const std::vector<std::int64_t> start = encode(prompt);
    const std::vector<std::int64_t> whole = encode(std::string(prompt) + std::string(answer));
    if (whole.size() >= start.size() && std::equal(start.begin(), start.end(), whole.begin())) {
      return {whole.begin() + static_cast<std::ptrdiff_t>(start.size()), whole.end()};
    }
    return encode_with(answer, "");
  }

  std::string decode(const std::vector<std::int64_t>& ids, bool skip_special) const override {
    std::vector<std::string> pieces;
    for (const std::int64_t id : ids) {
      const std::string& token = text_of(id);
      const auto added = added_by_id_.find(id);
      if (added != added_by_id_.end() && added->second.special && skip_special) continue;
      pieces.push_back(token);
    }
    return join(pieces);
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  const SpecialTokens& special() const override { return special_; }
  std::string token_text(std::int64_t id) const override {
    const std::string& token = text_of(id);
    if (added_by_id_.contains(id)) return token;
    return byte_level_ ? bytes_of_level(token) : replaced(token, "\u2581", " ");
  }
  void save(const fs::path& folder) const override {
    fs::create_directories(folder);
    write_durably(folder / "tokenizer.json", text_);
    if (!config_.empty()) write_durably(folder / "tokenizer_config.json", config_.dump(2) + "\n");
  }

 private:
  void name(std::int64_t id, const std::string& token) {
    if (id >= size()) tokens_.resize(static_cast<std::size_t>(id) + 1);
    tokens_[id] = token;
  }

  void read_added_tokens(const Parsed& list) {
    for (const Parsed& entry : list) {
      for (const char* key : {"single_word", "lstrip", "rstrip"}) {
        if (!entry.value(key, false)) continue;
        throw Failure("tokenizer", fmt::format("the added token {} uses {}, which is not supported",
                                               entry.at("content").dump(), key));
      }
      const AddedToken token{entry.at("content"), entry.at("id"), entry.value("special", false)};
      name(token.id, token.text);
      added_by_id_.emplace(token.id, token);
      added_.push_back(token);
    }
    // Of several that start at one place, the longest is meant.
    std::stable_sort(added_.begin(), added_.end(), [](const AddedToken& a, const AddedToken& b) {
      return a.text.size() > b.text.size();
    });
  }

  void read_normalizer(const Parsed& normalizer) {
    for (const Parsed& part : parts_of(normalizer, "normalizers")) {
      const std::string type = part.value("type", "");
      if (type == "Prepend") {
        prefix_ = part.at("prepend");
      } else if (type == "Replace" && part.at("pattern").contains("String")) {
        replacements_.emplace_back(part["pattern"]["String"], part.at("content"));
      } else if (type == "NFC") {
        composes_ = true;
      } else {
        unsupported("normalizer", part);
      }
    }
  }

  void read_decoder(const Parsed& decoder) {
    for (const Parsed& part : parts_of(decoder, "decoders")) {
      const std::string type = part.value("type", "");
      if (type == "ByteLevel") {
        byte_level_ = true;
      } else if (type == "ByteFallback") {
        byte_fallback_ = true;
      } else if (type == "Replace" && part.at("pattern").contains("String")) {
        restorations_.emplace_back(part["pattern"]["String"], part.at("content"));
      } else if (type == "Strip" && part.at("content") == " " && part.value("stop", 0) == 0) {
        stripped_ = part.value("start", 0);
      } else if (type != "Fuse") {
        unsupported("decoder", part);
      }
    }
  }

  void read_post_processor(const Parsed& processor) {
    for (const Parsed& part : parts_of(processor, "processors")) {
      const std::string type = part.value("type", "");
      if (type == "ByteLevel") continue;
      if (type != "TemplateProcessing") unsupported("post_processor", part);
      for (const Parsed& item : part.at("single")) {
        if (item.contains("Sequence")) break;
        const std::string key = item.at("SpecialToken").at("id");
        for (const Parsed& id : part.at("special_tokens").at(key).at("ids")) before_.push_back(id);
      }
    }
  }

  std::optional<std::int64_t> id_in_config(const char* key) const {
    if (!config_.contains(key) || config_[key].is_null()) return std::nullopt;
    const Json& entry = config_[key];
    const std::string text =
        entry.is_object() ? entry.value("content", "") : entry.get<std::string>();
    for (const AddedToken& token : added_) {
      if (token.text == text) return token.id;
    }
    return pairs_.id_of(text);
  }

  /// Added tokens are cut out of the text as it is; what lies between them is normalised and split.
  std::vector<std::int64_t> encode_with(std::string_view text, const std::string& prefix) const {
    std::vector<std::int64_t> ids;
    std::size_t start = 0;
    for (std::size_t i = 0; i < text.size();) {
      const AddedToken* const token = added_at(text.substr(i));
      if (token == nullptr) {
        ++i;
        continue;
      }
      encode_between(text.substr(start, i - start), prefix, ids);
      ids.push_back(token->id);
      start = i += token->text.size();
    }
    encode_between(text.substr(start), prefix, ids);
    return ids;
  }

  const AddedToken* added_at(std::string_view text) const {
    for (const AddedToken& token : added_) {
      if (!token.text.empty() && text.starts_with(token.text)) return &token;
    }
    return nullptr;
  }

  void encode_between(std::string_view text, const std::string& prefix,
                      std::vector<std::int64_t>& ids) const {
    if (text.empty()) return;
    if (composes_) require_composed(text);
    std::string normal;
    for (const char32_t c : code_points(text)) append_utf8(normal, c);
    normal = prefix + normal;
    for (const auto& [from, to] : replacements_) normal = replaced(normal, from, to);
    for (const std::string& piece : pre_tokenizer_.split(normal)) pairs_.encode(piece, ids);
  }

  const std::string& text_of(std::int64_t id) const {
    if (id >= 0 && id < size()) return tokens_[id];
    throw Failure("token-range",
                  fmt::format("token {} is not below the vocabulary size {}", id, size()));
  }

  std::string join(const std::vector<std::string>& pieces) const {
    std::string text, bytes;
    const auto flush = [&] {
      // Bytes that make no valid text are shown one by one.
      std::string again;
      for (const char32_t c : code_points(bytes)) append_utf8(again, c);
      if (again == bytes)
        text += bytes;
      else
        for (std::size_t i = 0; i < bytes.size(); ++i) text += "\uFFFD";
      bytes.clear();
    };
    for (std::string piece : pieces) {
      for (const auto& [from, to] : restorations_) piece = replaced(piece, from, to);
      const bool is_byte = byte_fallback_ && piece.size() == 6 && piece.starts_with("<0x");
      if (is_byte) {
        bytes += static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
        continue;
      }
      flush();
      text += piece;
    }
    flush();
    if (byte_level_) {
      std::string out;
      for (const char32_t c : code_points(bytes_of_level(text))) append_utf8(out, c);
      return out;
    }
    std::size_t skip = 0;
    while (skip < stripped_ && skip < text.size() && text[skip] == ' ') ++skip;
    return text.substr(skip);
  }

  std::string text_;
  Json config_;
  BytePairs pairs_;
  PreTokenizer pre_tokenizer_;
  std::vector<std::string> tokens_;
  std::vector<AddedToken> added_;
  std::map<std::int64_t, AddedToken> added_by_id_;
  std::string prefix_;
  std::vector<std::pair<std::string, std::string>> replacements_, restorations_;
  bool composes_ = false;
  bool byte_level_ = false;
  bool byte_fallback_ = false;
  std::size_t stripped_ = 0;
  std::vector<std::int64_t> before_;
  SpecialTokens special_;
};

}  // namespace

std::shared_ptr<const Tokenizer> bpe_tokenizer(const std::string& tokenizer, const Json& config) {
  Parsed parsed;
  try {
    parsed = Parsed::parse(tokenizer);
  } catch (const Parsed::exception& error) {
    throw Failure("tokenizer", fmt::format("tokenizer.json does not parse: {}", error.what()));
  }
  try {
    return std::make_shared<BpeTokenizer>(tokenizer, parsed, config);
  } catch (const Parsed::exception& error) {
    throw Failure("tokenizer", fmt::format("tokenizer.json lacks an entry: {}", error.what()));
  }
}

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& folder) {
  const fs::path whole = folder / "tokenizer.json", config_path = folder / "tokenizer_config.json";
  const Json config = fs::exists(config_path) ? read_json(config_path) : Json::object();
  if (fs::exists(whole)) return bpe_tokenizer(read_file(whole), config);
  if (config.contains("char_ords")) return character_tokenizer_from(config);
  throw Failure("tokenizer",
                fmt::format("{} has no tokenizer.json, and no tokenizer_config.json with char_ords",
                            folder.string()),
                "put the model's tokenizer beside its weights");
}

}  // namespace rewardloom
