#include "nodes/text/byte_pairs.h"

#include <fmt/format.h>

#include <queue>
#include <tuple>

#include "nodes/text/unicode.h"

namespace rewardloom {

BytePairs::BytePairs(const TokenizerPart& model) : vocabulary_(model.at("vocab")) {
  if (model.has("dropout") && model.json().at("dropout") != 0.0) {
    model.refuse("dropout is not supported: the ids of a text would be random",
                 "set dropout to null");
  }
  prefix_ = model.text("continuing_subword_prefix", "");
  suffix_ = model.text("end_of_word_suffix", "");
  byte_fallback_ = model.flag("byte_fallback", false);
  fuse_unknown_ = model.flag("fuse_unk", false);
  ignore_merges_ = model.flag("ignore_merges", false);
  if (model.has("unk_token")) unknown_ = vocabulary_.id_of(model.text("unk_token"));
  const TokenizerPart merges = model.at("merges");
  if (!merges.json().is_array()) merges.refuse("is no list");
  merges_.reserve(merges.json().size());
  std::int64_t rank = 0;
  for (const nlohmann::json& merge : merges.json()) read_merge(merges, merge, rank++);
}

void BytePairs::read_merge(const TokenizerPart& merges, const nlohmann::json& merge,
                           std::int64_t rank) {
  std::string left, right;
  if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    left = merge[0];
    right = merge[1];
  } else if (const std::size_t space = merge.is_string()
                                           ? merge.get_ref<const std::string&>().find(' ')
                                           : std::string::npos;
             space != std::string::npos) {
    const std::string& text = merge.get_ref<const std::string&>();
    left = text.substr(0, space);
    right = text.substr(space + 1);
  } else {
    merges.refuse(fmt::format("element {} is no pair of tokens", rank));
  }
  const std::string_view tail = right.starts_with(prefix_)
                                    ? std::string_view(right).substr(prefix_.size())
                                    : std::string_view(right);
  const auto a = vocabulary_.id_of(left), b = vocabulary_.id_of(right);
  const auto joined = vocabulary_.id_of(left + std::string(tail));
  if (!a || !b || !joined) {
    merges.refuse(fmt::format("element {} joins {} and {}, which are not all in the vocabulary",
                              rank, left, right));
  }
  // Of equal pairs the last one holds.
  merges_[static_cast<std::uint64_t>(*a) << 32 | static_cast<std::uint64_t>(*b)] = {rank, *joined};
}

const BytePairs::Merge* BytePairs::merge_of(std::int64_t left, std::int64_t right) const {
  const auto found =
      merges_.find(static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::optional<std::int64_t> BytePairs::character_id(std::string_view character, bool first,
                                                    bool last) const {
  const bool plain = (first || prefix_.empty()) && (!last || suffix_.empty());
  if (plain) return vocabulary_.id_of(character);
  std::string marked = first ? "" : prefix_;
  marked += character;
  if (last) marked += suffix_;
  return vocabulary_.id_of(marked);
}

std::vector<std::int64_t> BytePairs::characters(std::string_view piece) const {
  std::vector<std::int64_t> ids;
  ids.reserve(piece.size());
  bool after_unknown = false;
  for (std::size_t i = 0; i < piece.size();) {
    const std::string_view c = piece.substr(i, utf8_character(piece, i).length);
    const bool first = i == 0;
    i += c.size();
    if (const auto id = character_id(c, first, i == piece.size())) {
      ids.push_back(*id);
      after_unknown = false;
    } else if (byte_fallback_ && vocabulary_.add_bytes(c, ids)) {
      after_unknown = false;
    } else if (unknown_ && !(fuse_unknown_ && after_unknown)) {
      ids.push_back(*unknown_);
      after_unknown = true;
    }
  }
  return ids;
}

void BytePairs::encode(std::string_view piece, std::vector<std::int64_t>& ids) const {
  if (ignore_merges_) {
    if (const auto whole = vocabulary_.id_of(piece)) {
      ids.push_back(*whole);
      return;
    }
  }
  struct Symbol {
    std::int64_t id;
    std::int64_t previous;
    std::int64_t next;
  };
  struct Candidate {
    std::int64_t rank, at, left, right, id;
    bool operator>(const Candidate& o) const { return std::tie(rank, at) > std::tie(o.rank, o.at); }
  };
  std::vector<Symbol> symbols;
  for (const std::int64_t id : characters(piece)) {
    const auto i = static_cast<std::int64_t>(symbols.size());
    symbols.push_back({id, i - 1, i + 1});
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::int64_t left) {
    if (left < 0 || symbols[left].next < 0) return;
    const std::int64_t a = symbols[left].id, b = symbols[symbols[left].next].id;
    if (const Merge* merge = merge_of(a, b)) queue.push({merge->rank, left, a, b, merge->id});
  };
  for (std::size_t i = 0; i < symbols.size(); ++i) consider(static_cast<std::int64_t>(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.at];
    // What was queued may have been merged away since.
    if (left.id != best.left || left.next < 0 || symbols[left.next].id != best.right) continue;
    Symbol& right = symbols[left.next];
    left.id = best.id;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  for (std::int64_t i = 0; i >= 0; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace rewardloom
