#include "nodes/text/word_pieces.h"

#include <fmt/format.h>

#include "nodes/text/unicode.h"

namespace rewardloom {

WordPieces::WordPieces(const TokenizerPart& model) : vocabulary_(model.at("vocab")) {
  const std::string unknown = model.text("unk_token", "[UNK]");
  const auto id = vocabulary_.id_of(unknown);
  if (!id) model.refuse(fmt::format("unk_token {} is not in the vocabulary", unknown));
  unknown_ = *id;
  longest_word_ = model.count("max_input_chars_per_word", 100);
  const std::string prefix = model.text("continuing_subword_prefix", "##");
  std::vector<PrefixIndex::Entry> starts, continuations;
  vocabulary_.each([&](const std::string& token, std::int64_t value) {
    starts.emplace_back(token, value);
    if (token.starts_with(prefix)) continuations.emplace_back(token.substr(prefix.size()), value);
  });
  starts_ = PrefixIndex(std::move(starts));
  continuations_ = PrefixIndex(std::move(continuations));
}

void WordPieces::encode(std::string_view piece, std::vector<std::int64_t>& ids) const {
  const std::size_t before = ids.size();
  std::int64_t characters = 0;
  for (std::size_t i = 0; i < piece.size(); ++characters) i += utf8_character(piece, i).length;
  bool known = characters <= longest_word_;
  for (std::size_t at = 0; known && at < piece.size();) {
    const PrefixIndex& pieces = at == 0 ? starts_ : continuations_;
    const auto found = pieces.longest(piece.substr(at));
    known = found.has_value();
    if (!known) break;
    ids.push_back(found->value);
    at += found->length;
  }
  if (known) return;
  ids.resize(before);
  ids.push_back(unknown_);
}

}  // namespace rewardloom
