// Where the nodes that a run names by path stand in the graph's document.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "editor/document/graph_edits.h"

namespace rewardloom {

/// A node of a subgraph (empty: of the graph itself).
struct RunPlace {
  Scope scope;
  std::string node;
  bool operator==(const RunPlace&) const = default;
};

/// "stage/race/shape[mode=raw]/gold" is node gold of the subgraph that shape runs. Nothing where
/// the document has no such node, as after an edit.
std::optional<RunPlace> placeInDocument(const Document& document, const std::string& path);

/// The subgraphs that a node may run: its own, its body, those of its phases.
std::vector<std::string> bodiesOf(const Document& document, const GraphNode& node);

}  // namespace rewardloom
