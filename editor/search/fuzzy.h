// Fuzzy search as hands expect it: the letters in order, better at word starts and in a run.
#pragma once
#include <QString>
#include <QStringList>
#include <optional>
#include <vector>

#include "engine/core/catalogue.h"

namespace rewardloom {

/// How well `query` matches `text` (higher is better), or nothing. Case does not count; the words
/// of a query may stand in any order.
std::optional<int> fuzzyScore(const QString& query, const QString& text);

struct SearchEntry {
  QString id;  ///< what is chosen: a node type, a command
  QString title;
  QString detail;  ///< shown beside it: keys, the family
  QString doc;
  QStringList words;    ///< synonyms
  bool idShown = true;  ///< beside the title
};

/// Entries that match, best first; all of them for an empty query, in their order.
std::vector<const SearchEntry*> fuzzySearch(const std::vector<SearchEntry>& entries,
                                            const QString& query);

/// Every node type of a catalogue as something to search for.
std::vector<SearchEntry> nodeEntries(const Catalogue& catalogue);

}  // namespace rewardloom
