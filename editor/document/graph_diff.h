// What differs between two graphs, node by node, in words: for people, not for merging.
#pragma once
#include <QString>
#include <vector>

#include "editor/document/graph_edits.h"

namespace rewardloom {

struct Difference {
  enum class Kind { added, removed, changed, renamed };
  Kind kind = Kind::changed;
  Scope scope;
  std::string node;  ///< in the newer graph, of a removed one in the older; empty: the graph itself
  QString what;      ///< "parameter epsilon", "wire rewards", "type"; empty: the whole node
  QString before;
  QString after;
};

/// In the order of the newer graph; what is gone follows at the end of its scope. A node that only
/// has another name counts as renamed, and wires to it as unchanged.
std::vector<Difference> differences(const Document& before, const Document& after);

/// "2 nodes added, 1 changed" or "no differences"
QString differenceSummary(const std::vector<Difference>& list);

}  // namespace rewardloom
