#include "editor/search/fuzzy.h"

#include <algorithm>

namespace rewardloom {
namespace {

bool startsWord(const QString& text, qsizetype at) {
  return at == 0 || !text[at - 1].isLetterOrNumber() ||
         (text[at].isUpper() && text[at - 1].isLower());
}

/// One word of a query.
std::optional<int> wordScore(const QString& word, const QString& text) {
  const qsizetype whole = text.indexOf(word, 0, Qt::CaseInsensitive);
  if (whole >= 0) {
    const int start = startsWord(text, whole) ? 60 : 0;
    const int all = word.size() == text.size() ? 100 : 0;
    return 100 + start + all - static_cast<int>(std::min<qsizetype>(whole, 40));
  }
  int score = 0;
  qsizetype at = 0;
  qsizetype before = -2;
  for (const QChar letter : word) {
    qsizetype found = at;
    while (found < text.size() && text[found].toLower() != letter.toLower()) ++found;
    if (found == text.size()) return std::nullopt;
    if (found == before + 1) score += 6;
    if (startsWord(text, found)) score += 8;
    score -= static_cast<int>(std::min<qsizetype>(found - at, 5));
    before = found;
    at = found + 1;
  }
  return score;
}

}  // namespace

std::optional<int> fuzzyScore(const QString& query, const QString& text) {
  int total = 0;
  for (const QString& word : query.split(QChar(' '), Qt::SkipEmptyParts)) {
    const auto score = wordScore(word, text);
    if (!score) return std::nullopt;
    total += *score;
  }
  return total;
}

std::vector<const SearchEntry*> fuzzySearch(const std::vector<SearchEntry>& entries,
                                            const QString& query) {
  std::vector<std::pair<int, const SearchEntry*>> found;
  for (const SearchEntry& entry : entries) {
    std::optional<int> best;
    const auto consider = [&](const QString& text, int bonus) {
      const auto score = fuzzyScore(query, text);
      if (score && (!best || *score + bonus > *best)) best = *score + bonus;
    };
    consider(entry.id, 30);
    consider(entry.title, 30);
    for (const QString& word : entry.words) consider(word, 15);
    if (!best && query.size() > 2 && entry.doc.contains(query, Qt::CaseInsensitive)) best = -50;
    if (best) found.emplace_back(*best, &entry);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<const SearchEntry*> list;
  for (const auto& [score, entry] : found) list.push_back(entry);
  return list;
}

std::vector<SearchEntry> nodeEntries(const Catalogue& catalogue) {
  std::vector<SearchEntry> entries;
  for (const auto& [id, node] : catalogue.nodes()) {
    SearchEntry entry;
    entry.id = QString::fromStdString(id);
    entry.title = QString::fromStdString(node.title);
    entry.detail = QString::fromStdString(node.source);
    entry.doc = QString::fromStdString(node.doc);
    for (const std::string& word : node.synonyms) entry.words << QString::fromStdString(word);
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace rewardloom
