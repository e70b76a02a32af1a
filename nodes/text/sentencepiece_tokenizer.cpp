#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/text/added_tokens.h"
#include "nodes/text/sentence_pieces.h"
#include "nodes/text/text_pattern.h"
#include "nodes/text/tokenizer.h"
#include "nodes/text/tokenizer_config.h"

namespace rewardloom {

namespace {

using Ids = std::vector<std::int64_t>;

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string model, const Json& config)
      : model_(std::move(model)),
        config_(config),
        pieces_(read_sentencepiece_model(model_)),
        added_(added_tokens_in_config(config),
               [](std::string_view token) { return std::string(token); }) {
    size_ = pieces_.size();
    for (const AddedToken& token : added_.all()) size_ = std::max(size_, token.id + 1);
    read_specials();
  }

  Ids encode(std::string_view text) const override {
    Ids ids;
    for (const AddedTokens::Part& part : added_.cut_raw(text)) {
      const Ids some = part.token != nullptr ? Ids{part.token->id} : pieces_.encode(part.text);
      ids.insert(ids.end(), some.begin(), some.end());
    }
    return ids;
  }
  Ids encode_prompt(std::string_view text) const override {
    Ids ids = encode(text);
    if (adds_begin_) ids.insert(ids.begin(), *special_.begin);
    return ids;
  }
  Ids encode_whole(std::string_view text) const override {
    Ids ids = encode_prompt(text);
    if (adds_end_) ids.push_back(*special_.end);
    return ids;
  }
  Ids encode_answer(std::string_view prompt, std::string_view answer) const override {
    const Ids start = encode(prompt);
    const Ids whole = encode(std::string(prompt) + std::string(answer));
    if (whole.size() >= start.size() && std::equal(start.begin(), start.end(), whole.begin())) {
      return {whole.begin() + static_cast<std::ptrdiff_t>(start.size()), whole.end()};
    }
    return encode(answer);
  }

  std::string decode(const Ids& ids, bool skip_special) const override {
    std::string text;
    Ids run;
    const auto flush = [&] {
      text += pieces_.decode(run);
      run.clear();
    };
    for (const std::int64_t id : ids) {
      require_id(id);
      const AddedToken* const added = added_.by_id(id);
      const bool control = added == nullptr && is_control(id);
      if (added == nullptr && !control) {
        if (id < pieces_.size()) run.push_back(id);
        continue;
      }
      if (skip_special && control) {  // stands between two runs of bytes, and has no text
        run.push_back(id);
        continue;
      }
      if (skip_special && added->special) continue;
      flush();
      text += control ? pieces_.piece(id).text : added->text;
    }
    flush();
    return text;
  }

  std::int64_t size() const override { return size_; }
  const SpecialTokens& special() const override { return special_; }
  std::string token_text(std::int64_t id) const override {
    require_id(id);
    if (const AddedToken* const added = added_.by_id(id)) return added->text;
    if (id >= pieces_.size()) return "";
    return TextPattern::literal("\u2581").replaced(pieces_.piece(id).text, " ");
  }
  void save(const std::filesystem::path& folder) const override {
    std::filesystem::create_directories(folder);
    write_durably(folder / "tokenizer.model", model_);
    save_tokenizer_config(folder, config_);
  }

 private:
  bool is_control(std::int64_t id) const {
    return id < pieces_.size() && pieces_.piece(id).type == SentencePieceModel::Type::control;
  }
  void require_id(std::int64_t id) const {
    if (id >= 0 && id < size_) return;
    throw Failure("token-range",
                  fmt::format("token {} is not below the vocabulary size {}", id, size_));
  }

  void read_specials() {
    const SpecialTokens named = special_tokens(config_, [this](const std::string& token) {
      const auto added = added_.id_of(token);
      return added ? added : pieces_.find(token);
    });
    const SentencePieceModel& model = pieces_.model();
    special_.begin = named.begin ? named.begin : pieces_.control(model.begin);
    special_.end = named.end ? named.end : pieces_.control(model.end);
    special_.padding = named.padding ? named.padding : pieces_.control(model.padding);
    special_.unknown = named.unknown ? named.unknown : pieces_.unknown();
    // T5's models have no begin token and end each text; the Llama family begins it.
    const bool t5 = token_in_config(config_, "tokenizer_class").value_or("").starts_with("T5");
    adds_begin_ = special_.begin && flag("add_bos_token", !t5);
    adds_end_ = special_.end && flag("add_eos_token", t5);
  }
  bool flag(const char* key, bool otherwise) const {
    const bool given = config_.is_object() && config_.contains(key) && config_[key].is_boolean();
    return given ? config_[key].get<bool>() : otherwise;
  }

  std::string model_;
  Json config_;
  SentencePieces pieces_;
  AddedTokens added_;
  std::int64_t size_ = 0;
  SpecialTokens special_;
  bool adds_begin_ = false;
  bool adds_end_ = false;
};

}  // namespace

std::shared_ptr<const Tokenizer> sentencepiece_tokenizer(const std::string& model,
                                                         const Json& config) {
  return std::make_shared<SentencePieceTokenizer>(model, config);
}

}  // namespace rewardloom
