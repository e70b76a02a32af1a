#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/text/loaded_tokenizer.h"

namespace rewardloom {

namespace {

enum class InvalidText { refuse, replace };
constexpr auto choices(InvalidText) {
  return std::to_array<Choice<InvalidText>>({
      {InvalidText::refuse, "refuse", "an error that names row and byte"},
      {InvalidText::replace, "replace", "U+FFFD stands in its place, as Hugging Face has it"},
  });
}

using Ids = std::vector<std::int64_t>;

void require_utf8(const std::vector<std::string>& texts) {
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto at = invalid_utf8(texts[i]);
    if (!at) continue;
    throw Failure("invalid-utf8",
                  fmt::format("row {}: byte 0x{:02X} at offset {} belongs to no character of UTF-8",
                              i, static_cast<unsigned char>(texts[i][*at]), *at),
                  "convert the text to UTF-8, or set invalid to replace");
  }
}

Ids ids_of(const Json& row, std::size_t index) {
  const auto refuse = [&](const std::string& what) {
    throw Failure("bad-value",
                  fmt::format("row {} of ids is {}, not a list of whole numbers", index, what),
                  "write [[1, 2], [3]]");
  };
  if (!row.is_array()) refuse(fmt::format("a JSON {}", row.type_name()));
  Ids ids;
  for (const Json& id : row) {
    if (!id.is_number_integer()) refuse(fmt::format("a list with {}", id.dump()));
    ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

}  // namespace

struct TextTokenize final : Node {
  State<LoadedTokenizer> loaded{this, "tokenizer"};
  Optional<TextRows> text{this, "text", "texts to be turned into ids"};
  Optional<Table> ids{this, "ids", "with decode: one list of ids per row"};
  Output<Table> out_ids{this, "ids", "one list of ids per row"};
  Output<TextRows> out_text{this, "text", "the texts; with decode, those of the ids"};
  Output<Table> tokens{this, "tokens", "with show_tokens: the text of each id, one list per row"};
  TokenizerParams source{this};
  Param<bool> decode{this, "decode", false, "from ids to texts instead"};
  Param<bool> special{this, "special", true, "ids get what the post-processor puts around them"};
  Param<bool> skip_special{this, "skip_special", true, "decode leaves special tokens out"};
  Param<bool> show_tokens{this, "show_tokens", false, "tokens gives the text of each id"};
  Param<InvalidText> invalid{this, "invalid", InvalidText::refuse, "text that is no UTF-8"};
  Synonyms words{this,
                 {"tokenizer", "BPE", "SentencePiece", "WordPiece", "detokenize", "vocabulary"}};
  Doc doc{
      this,
      "Token ids of texts, or texts of ids, with the tokenizer of a model: tokenizer.json (BPE, "
      "Unigram, WordPiece), tokenizer.model (SentencePiece) or char_ords. [N] texts, [N] lists."};

  void run(Step& step) const override {
    const auto state =
        step.shared(loaded, [&] { return std::make_shared<LoadedTokenizer>(source.load(step)); });
    const Tokenizer& tokenizer = *state->tokenizer;
    std::vector<Ids> rows;
    std::vector<std::string> texts;
    if (decode()) {
      rows = given_ids(step);
      texts = decoded(step, tokenizer, rows);
    } else {
      texts = given_texts(step);
      rows = encoded(step, tokenizer, texts);
    }
    alarm_double_begin(step, tokenizer, rows);
    put(step, tokenizer, rows, std::move(texts));
  }

 private:
  std::vector<std::string> given_texts(const Step& step) const {
    if (const TextRows* const given = step[text]) {
      if (invalid() == InvalidText::refuse) require_utf8(given->texts);
      return given->texts;
    }
    throw Failure("missing-input", "there is no text", "give text, or set decode and give ids");
  }

  std::vector<Ids> given_ids(const Step& step) const {
    const Table* const given = step[ids];
    if (given == nullptr) {
      throw Failure("missing-input", "decode is set, but there are no ids", "give ids");
    }
    std::vector<Ids> rows;
    for (const Json& row : given->cells) rows.push_back(ids_of(row, rows.size()));
    return rows;
  }

  std::vector<Ids> encoded(Step& step, const Tokenizer& tokenizer,
                           const std::vector<std::string>& texts) const {
    std::vector<Ids> rows(texts.size());
    step.parallel(texts.size(), [&](std::size_t i) {
      rows[i] = special() ? tokenizer.encode_whole(texts[i]) : tokenizer.encode(texts[i]);
    });
    return rows;
  }

  std::vector<std::string> decoded(Step& step, const Tokenizer& tokenizer,
                                   const std::vector<Ids>& rows) const {
    std::vector<std::string> texts(rows.size());
    step.parallel(rows.size(), [&](std::size_t i) {
      for (std::size_t k = 0; k < rows[i].size(); ++k) {
        if (rows[i][k] >= 0 && rows[i][k] < tokenizer.size()) continue;
        throw Failure("token-range",
                      fmt::format("row {}, position {}: id {} is not below the vocabulary size {}",
                                  i, k, rows[i][k], tokenizer.size()),
                      "use the tokenizer that the ids come from");
      }
      texts[i] = tokenizer.decode(rows[i], skip_special());
    });
    return texts;
  }

  static Table token_texts(const Tokenizer& tokenizer, const std::vector<Ids>& rows) {
    Table table;
    for (const Ids& row : rows) {
      Json pieces = Json::array();
      for (const std::int64_t id : row) pieces.push_back(repaired_utf8(tokenizer.token_text(id)));
      table.cells.push_back(std::move(pieces));
    }
    return table;
  }

  void put(Step& step, const Tokenizer& tokenizer, const std::vector<Ids>& rows,
           std::vector<std::string> texts) const {
    Table id_table;
    for (const Ids& row : rows) id_table.cells.emplace_back(row);
    step[out_ids] = std::move(id_table);
    if (show_tokens()) step[tokens] = token_texts(tokenizer, rows);
    step[out_text] = TextRows{std::move(texts), step.new_batch()};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TextTokenize, "Tokenize, or turn ids into text", "")
