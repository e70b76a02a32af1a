#include "nodes/text/token_model.h"

#include <fmt/format.h>

#include "nodes/text/byte_pairs.h"
#include "nodes/text/unigram.h"
#include "nodes/text/word_pieces.h"

namespace rewardloom {

Vocabulary::Vocabulary(const TokenizerPart& part) {
  if (!part.json().is_object()) part.refuse("is no object of ids by token");
  ids_.reserve(part.json().size());
  for (const auto& [token, id] : part.json().items()) ids_[token] = token_id(id, part.place());
  find_bytes();
}

Vocabulary::Vocabulary(const TokenizerPart& part, std::vector<double>& scores) {
  if (!part.json().is_array() || part.json().empty()) part.refuse("is no list of [token, score]");
  ids_.reserve(part.json().size());
  for (const nlohmann::json& entry : part.json()) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      part.refuse(fmt::format("element {} is not [token, score]", scores.size()));
    }
    ids_[entry[0].get<std::string>()] = static_cast<std::int64_t>(scores.size());
    scores.push_back(entry[1].get<double>());
  }
  find_bytes();
}

void Vocabulary::find_bytes() {
  for (int byte = 0; byte < 256; ++byte) {
    bytes_.push_back(id_of(fmt::format("<0x{:02X}>", byte)).value_or(-1));
  }
}

bool Vocabulary::add_bytes(std::string_view text, std::vector<std::int64_t>& ids) const {
  const std::size_t before = ids.size();
  for (const char byte : text) {
    const std::int64_t id = bytes_[static_cast<unsigned char>(byte)];
    if (id < 0) {
      ids.resize(before);
      return false;
    }
    ids.push_back(id);
  }
  return true;
}

namespace {

/// Files of the first versions do not name the type.
std::string type_of(const TokenizerPart& model) {
  const std::string given = model.type();
  if (!given.empty()) return given;
  if (model.has("merges")) return "BPE";
  if (model.at("vocab").json().is_array()) return "Unigram";
  return model.has("continuing_subword_prefix") ? "WordPiece" : "";
}

}  // namespace

std::unique_ptr<const TokenModel> read_token_model(const TokenizerPart& model) {
  const std::string type = type_of(model);
  if (type == "BPE") return std::make_unique<BytePairs>(model);
  if (type == "Unigram") return std::make_unique<Unigram>(model);
  if (type == "WordPiece") return std::make_unique<WordPieces>(model);
  model.unsupported({"BPE", "Unigram", "WordPiece"});
}

}  // namespace rewardloom
