#include "nodes/text/sentence_pieces.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/core/problem.h"
#include "nodes/text/sentencepiece_pairs.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

constexpr std::string_view space_mark = "\u2581";
constexpr float unknown_penalty = 10;

[[noreturn]] void refuse_pieces(const std::string& why) {
  throw Failure("tokenizer", "the SentencePiece model " + why, "fetch the file again");
}

}  // namespace

SentencePieces::SentencePieces(SentencePieceModel model) : model_(std::move(model)) {
  bytes_.fill(-1);
  lowest_ = std::numeric_limits<float>::max();
  highest_ = std::numeric_limits<float>::lowest();
  for (std::int64_t id = 0; id < size(); ++id) add_piece(id);
  if (unknown_ < 0) refuse_pieces("has no unknown piece");
  require_bytes();
  std::vector<PrefixIndex::Entry> entries, user_defined;
  for (const auto& [text, id] : texts_) {
    if (!is(id, Type::unused)) entries.emplace_back(text, id);
    if (is(id, Type::user_defined)) user_defined.emplace_back(text, id);
  }
  index_ = PrefixIndex(std::move(entries));
  user_defined_ = PrefixIndex(std::move(user_defined));
}

void SentencePieces::add_piece(std::int64_t id) {
  const auto& [text, score, type] = piece(id);
  const bool is_text = type == Type::normal || type == Type::user_defined || type == Type::unused;
  if (!(is_text ? texts_ : reserved_).emplace(text, id).second) {
    refuse_pieces(fmt::format("has the piece {} twice", text));
  }
  if (type == Type::normal) {
    lowest_ = std::min(lowest_, score);
    highest_ = std::max(highest_, score);
  }
  if (type == Type::unknown) {
    if (unknown_ >= 0) refuse_pieces("has two unknown pieces");
    unknown_ = id;
  }
  if (type != Type::byte) return;
  for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
    if (text == fmt::format("<0x{:02X}>", byte)) {
      bytes_[byte] = id;
      return;
    }
  }
  refuse_pieces(fmt::format("has the byte piece {}", text));
}

void SentencePieces::require_bytes() const {
  const auto known = std::count_if(bytes_.begin(), bytes_.end(), [](auto id) { return id >= 0; });
  if (model_.byte_fallback ? known == 256 : known == 0) return;
  refuse_pieces(fmt::format("has {} byte pieces, {} falling back on bytes", known,
                            model_.byte_fallback ? "but is" : "without"));
}

std::optional<std::int64_t> SentencePieces::find(std::string_view piece) const {
  for (const Lookup* const lookup : {&reserved_, &texts_}) {
    const auto found = lookup->find(piece);
    if (found != lookup->end()) return found->second;
  }
  return std::nullopt;
}

std::optional<std::int64_t> SentencePieces::control(std::string_view piece) const {
  const auto id = find(piece);
  return id && is(*id, Type::control) ? id : std::nullopt;
}

std::size_t SentencePieces::step(std::string_view text, bool& user_defined) const {
  const auto found = user_defined_.longest(text);
  user_defined = found.has_value();
  return found ? found->length : utf8_character(text, 0).length;
}

std::pair<std::string_view, std::size_t> SentencePieces::rewritten(std::string_view text) const {
  if (const auto found = user_defined_.longest(text)) {
    return {text.substr(0, found->length), found->length};
  }
  if (const auto rule = model_.rules.longest(text)) return {rule->by, rule->length};
  const Utf8Character next = utf8_character(text, 0);
  if (!next.valid) return {"\uFFFD", 1};
  return {text.substr(0, next.length), next.length};
}

std::string SentencePieces::normalized(std::string_view text) const {
  const std::string_view space = model_.escapes_spaces ? space_mark : " ";
  const bool trims = model_.removes_extra_spaces;
  while (trims && !text.empty()) {
    const auto [by, length] = rewritten(text);
    if (by != " ") break;
    text.remove_prefix(length);
  }
  std::string out;
  if (text.empty()) return out;
  if (!model_.space_is_suffix && model_.dummy_prefix) out += space;
  bool after_space = trims;
  while (!text.empty()) {
    auto [by, length] = rewritten(text);
    while (after_space && by.starts_with(' ')) by.remove_prefix(1);
    for (const char c : by) {
      if (c == ' ') {
        out += space;
      } else {
        out += c;
      }
    }
    if (!by.empty()) after_space = by.ends_with(' ');
    after_space = after_space && trims;
    text.remove_prefix(length);
  }
  while (trims && out.ends_with(space)) out.resize(out.size() - space.size());
  if (model_.space_is_suffix && model_.dummy_prefix) out += space;
  return out;
}

double SentencePieces::user_score(std::size_t length) const {
  return static_cast<double>(static_cast<float>(length) * highest_) - 0.1;
}

/// As unigram.h, but with the library's own precision: sums in float, compared in double.
SentencePieces::Cut SentencePieces::by_probability(std::string_view text) const {
  struct Arrival {
    std::int64_t id = -1;
    float score = 0;
    std::size_t from = 0;
    bool reached = false;
  };
  std::vector<Arrival> best(text.size() + 1);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t character = utf8_character(text, at).length;
    bool alone = false;
    const auto arrive = [&](std::size_t length, double sum, std::int64_t id) {
      Arrival& end = best[at + length];
      if (!end.reached || sum > end.score) end = {id, static_cast<float>(sum), at, true};
    };
    index_.each_prefix(text.substr(at), [&](std::size_t length, std::int64_t id) {
      const double score = is(id, Type::user_defined) ? user_score(length) : piece(id).score;
      arrive(length, score + best[at].score, id);
      alone = alone || length == character;
    });
    if (!alone) arrive(character, lowest_ - unknown_penalty + best[at].score, unknown_);
    at += character;
  }
  Cut out;
  for (std::size_t end = text.size(); end > 0; end = best[end].from) {
    out.emplace_back(text.substr(best[end].from, end - best[end].from), best[end].id);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

SentencePieces::Cut SentencePieces::by_pairs(std::string_view text) const {
  std::vector<MergeSymbol> symbols;
  for (std::string_view rest = text; !rest.empty();) {
    bool frozen = false;
    const std::size_t length = step(rest, frozen);
    symbols.push_back({rest.substr(0, length), frozen});
    rest.remove_prefix(length);
  }
  const auto score = [this](std::string_view joined) -> std::optional<MergeScore> {
    const auto found = texts_.find(joined);
    if (found == texts_.end()) return std::nullopt;
    return MergeScore{piece(found->second).score, is(found->second, Type::unused)};
  };
  Cut out;
  for (const std::string_view part : merged(std::move(symbols), score)) {
    out.emplace_back(part, id_of(part));
  }
  return out;
}

SentencePieces::Cut SentencePieces::by_words(std::string_view text) const {
  Cut out;
  std::size_t start = 0;
  const auto close = [&](std::size_t end) {
    if (end > start)
      out.emplace_back(text.substr(start, end - start), id_of(text.substr(start, end - start)));
    start = end;
  };
  for (std::size_t at = text.find(space_mark); at != std::string_view::npos;
       at = text.find(space_mark, at + space_mark.size())) {
    close(model_.space_is_suffix ? at + space_mark.size() : at);
  }
  close(text.size());
  return out;
}

SentencePieces::Cut SentencePieces::by_characters(std::string_view text) const {
  Cut out;
  while (!text.empty()) {
    bool user_defined = false;
    const std::string_view part = text.substr(0, step(text, user_defined));
    out.emplace_back(part, id_of(part));
    text.remove_prefix(part.size());
  }
  return out;
}

std::vector<std::int64_t> SentencePieces::encode(std::string_view given) const {
  using Kind = SentencePieceModel::Kind;
  const std::string text = normalized(given);
  const Cut cut = model_.kind == Kind::unigram ? by_probability(text)
                  : model_.kind == Kind::pairs ? by_pairs(text)
                  : model_.kind == Kind::words ? by_words(text)
                                               : by_characters(text);
  std::vector<std::int64_t> ids;
  bool after_unknown = false;
  for (const auto& [part, id] : cut) {
    const bool is_unknown = id == unknown_;
    if (is_unknown && model_.byte_fallback) {
      for (const char byte : part) ids.push_back(bytes_[static_cast<unsigned char>(byte)]);
    } else if (!is_unknown || !after_unknown) {
      ids.push_back(id);
    }
    after_unknown = is_unknown;
  }
  return ids;
}

namespace {

/// Bytes as text; each byte that belongs to no character is one U+FFFD.
void add_bytes(std::string& text, std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const Utf8Character next = utf8_character(bytes, at);
    append_utf8(text, next.c);
    at += next.valid ? next.length : 1;
  }
  bytes.clear();
}

}  // namespace

std::string SentencePieces::decode(const std::vector<std::int64_t>& ids) const {
  const bool drops_first = model_.dummy_prefix || model_.removes_extra_spaces;
  std::string text, bytes;
  bool at_start = true, dropped = false;
  for (const std::int64_t id : ids) {
    if (is(id, Type::byte)) {
      bytes += static_cast<char>(std::find(bytes_.begin(), bytes_.end(), id) - bytes_.begin());
      continue;
    }
    add_bytes(text, bytes);
    if (dropped || !text.empty()) at_start = false;
    dropped = false;
    if (is(id, Type::control)) continue;
    if (is(id, Type::unknown)) {
      text += model_.unknown_surface;
      continue;
    }
    std::string_view rest = piece(id).text;
    if (at_start && drops_first && rest.starts_with(space_mark)) {
      rest.remove_prefix(space_mark.size());
      // Where extra spaces are removed, all at the start are.
      dropped = !model_.removes_extra_spaces;
    }
    for (std::size_t at = rest.find(space_mark); at != std::string_view::npos;
         at = rest.find(space_mark)) {
      text.append(rest.substr(0, at)) += ' ';
      rest.remove_prefix(at + space_mark.size());
    }
    text += rest;
  }
  add_bytes(text, bytes);
  return text;
}

}  // namespace rewardloom
