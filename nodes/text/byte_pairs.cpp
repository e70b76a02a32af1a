#include "nodes/text/byte_pairs.h"

#include <fmt/format.h>

#include <queue>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

bool is_blank(const nlohmann::json& model, const char* key) {
  return !model.contains(key) || model[key].is_null() || model[key] == "" || model[key] == 0.0;
}

std::size_t character_length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

}  // namespace

BytePairs::BytePairs(const nlohmann::json& model) {
  if (model.value("type", "") != "BPE") {
    throw Failure(
        "tokenizer",
        fmt::format("the model of type {} is not supported", model.value("type", "(none)")),
        "BPE is");
  }
  for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"}) {
    if (is_blank(model, key)) continue;
    throw Failure("tokenizer", fmt::format("the BPE model's {} is not supported", key));
  }
  byte_fallback_ = model.value("byte_fallback", false);
  fuse_unknown_ = model.value("fuse_unk", false);
  ignore_merges_ = model.value("ignore_merges", false);
  vocabulary_.reserve(model.at("vocab").size());
  for (const auto& [token, id] : model.at("vocab").items()) vocabulary_[token] = id;
  if (model.contains("unk_token") && model["unk_token"].is_string()) {
    unknown_ = id_of(model["unk_token"].get<std::string>());
  }
  std::int64_t rank = 0;
  for (const nlohmann::json& merge : model.at("merges")) {
    if (merge.is_array()) {
      add_merge(merge[0], merge[1], rank++);
      continue;
    }
    const std::string text = merge;
    const std::size_t space = text.find(' ');
    add_merge(text.substr(0, space), text.substr(space + 1), rank++);
  }
}

void BytePairs::add_merge(const std::string& left, const std::string& right, std::int64_t rank) {
  const auto a = id_of(left), b = id_of(right), joined = id_of(left + right);
  if (!a || !b || !joined) {
    throw Failure("tokenizer",
                  fmt::format("merge {} joins {} and {}, which are not all in the vocabulary", rank,
                              left, right));
  }
  merges_.emplace(static_cast<std::uint64_t>(*a) << 32 | static_cast<std::uint64_t>(*b),
                  Merge{rank, *joined});
}

std::optional<std::int64_t> BytePairs::id_of(std::string_view token) const {
  const auto found = vocabulary_.find(std::string(token));
  return found == vocabulary_.end() ? std::nullopt : std::optional(found->second);
}

const BytePairs::Merge* BytePairs::merge_of(std::int64_t left, std::int64_t right) const {
  const auto found =
      merges_.find(static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right));
  return found == merges_.end() ? nullptr : &found->second;
}

std::vector<std::int64_t> BytePairs::characters(std::string_view piece) const {
  std::vector<std::int64_t> ids;
  bool after_unknown = false;
  for (std::size_t i = 0; i < piece.size();) {
    const std::string_view c =
        piece.substr(i, character_length(static_cast<unsigned char>(piece[i])));
    i += c.size();
    if (const auto id = id_of(c)) {
      ids.push_back(*id);
      after_unknown = false;
      continue;
    }
    std::vector<std::int64_t> bytes;
    if (byte_fallback_) {
      for (const char byte : c) {
        const auto id = id_of(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
        if (id) bytes.push_back(*id);
      }
    }
    if (byte_fallback_ && bytes.size() == c.size()) {
      ids.insert(ids.end(), bytes.begin(), bytes.end());
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
    if (const auto whole = id_of(piece)) {
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
