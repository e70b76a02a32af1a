#include "nodes/text/added_tokens.h"

#include <algorithm>

#include "nodes/text/unicode.h"

namespace rewardloom {

AddedTokens::AddedTokens(std::vector<AddedToken> tokens,
                         const std::function<std::string(std::string_view)>& normalize)
    : tokens_(std::move(tokens)) {
  std::vector<PrefixIndex::Entry> raw, normalized;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    by_id_[token.id] = i;
    const auto at = static_cast<std::int64_t>(i);
    if (token.normalized) {
      normalized.emplace_back(normalize(token.text), at);
    } else {
      raw.emplace_back(token.text, at);
    }
  }
  raw_ = PrefixIndex(std::move(raw));
  normalized_ = PrefixIndex(std::move(normalized));
}

const AddedToken* AddedTokens::by_id(std::int64_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

std::optional<std::int64_t> AddedTokens::id_of(std::string_view text) const {
  for (const AddedToken& token : tokens_) {
    if (token.text == text) return token.id;
  }
  return std::nullopt;
}

namespace {

bool ends_in_word(std::string_view text) {
  if (text.empty()) return false;
  std::size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return is_word_character(utf8_character(text, at).c);
}

bool starts_in_word(std::string_view text) {
  return !text.empty() && is_word_character(utf8_character(text, 0).c);
}

}  // namespace

std::vector<AddedTokens::Part> AddedTokens::cut(std::string_view text,
                                                const PrefixIndex& index) const {
  std::vector<Part> parts;
  std::size_t start = 0;  // of the text that is in no part yet
  for (std::size_t i = 0; i < text.size();) {
    const auto found = index.longest(text.substr(i));
    if (!found) {
      ++i;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(found->value)];
    std::size_t begin = i, end = i + found->length;
    i = end;
    if (token.single_word &&
        (ends_in_word(text.substr(0, begin)) || starts_in_word(text.substr(end)))) {
      continue;
    }
    if (token.lstrip) {
      const std::string_view before = text.substr(0, begin);
      begin = std::max(start, trimmed(before, false, true).size());
    }
    if (token.rstrip) end = text.size() - trimmed(text.substr(end), true, false).size();
    if (begin > start) parts.push_back({text.substr(start, begin - start), nullptr});
    parts.push_back({text.substr(begin, end - begin), &token});
    start = end;
    i = std::max(i, end);
  }
  if (start < text.size()) parts.push_back({text.substr(start), nullptr});
  return parts;
}

}  // namespace rewardloom
