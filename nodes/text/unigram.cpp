#include "nodes/text/unigram.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "nodes/text/unicode.h"

namespace rewardloom {

namespace {

constexpr double unknown_penalty = 10.0;

}  // namespace

Unigram::Unigram(const TokenizerPart& model) : vocabulary_(model.at("vocab"), scores_) {
  std::vector<PrefixIndex::Entry> entries;
  vocabulary_.each(
      [&](const std::string& token, std::int64_t id) { entries.emplace_back(token, id); });
  index_ = PrefixIndex(std::move(entries));
  unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - unknown_penalty;
  byte_fallback_ = model.flag("byte_fallback", false);
  if (!model.has("unk_id")) return;
  unknown_ = model.id("unk_id");
  if (*unknown_ >= static_cast<std::int64_t>(scores_.size())) {
    model.refuse(fmt::format("unk_id is {}, but there are {} pieces", *unknown_, scores_.size()));
  }
}

std::vector<Unigram::Arrival> Unigram::best_paths(std::string_view piece) const {
  std::vector<Arrival> best(piece.size() + 1);
  best[0].reached = true;
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t character = utf8_character(piece, at).length;
    bool alone = false;
    const auto arrive = [&](std::size_t length, double score, std::int64_t id) {
      Arrival& end = best[at + length];
      const double sum = best[at].score + score;
      if (!end.reached || sum > end.score) end = {sum, id, at, true};
    };
    index_.each_prefix(piece.substr(at), [&](std::size_t length, std::int64_t id) {
      arrive(length, scores_[static_cast<std::size_t>(id)], id);
      alone = alone || length == character;
    });
    if (!alone) {
      if (!unknown_) {
        throw Failure("tokenizer",
                      fmt::format("{} is in no piece of the Unigram model, and there is no unk_id",
                                  std::string(piece.substr(at, character))),
                      "set unk_id in tokenizer.json");
      }
      arrive(character, unknown_score_, *unknown_);
    }
    at += character;
  }
  return best;
}

void Unigram::add(std::string_view text, std::vector<std::int64_t>& ids) const {
  if (const auto id = vocabulary_.id_of(text)) {
    ids.push_back(*id);
  } else if (!byte_fallback_ || !vocabulary_.add_bytes(text, ids)) {
    ids.push_back(*unknown_);
  }
}

void Unigram::encode(std::string_view piece, std::vector<std::int64_t>& ids) const {
  const std::vector<Arrival> best = best_paths(piece);
  std::vector<std::string_view> parts;  // last first
  bool after_unknown = false;
  for (std::size_t end = piece.size(); end > 0;) {
    const Arrival& arrival = best[end];
    const bool is_unknown = unknown_ && arrival.id == *unknown_;
    const std::string_view part = piece.substr(arrival.from, end - arrival.from);
    if (is_unknown && after_unknown) {
      parts.back() = std::string_view(part.data(), part.size() + parts.back().size());
    } else {
      parts.push_back(part);
    }
    after_unknown = is_unknown;
    end = arrival.from;
  }
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) add(*part, ids);
}

}  // namespace rewardloom
