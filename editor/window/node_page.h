// What people read about a node type, and what usually follows what.
#pragma once
#include <QString>
#include <map>
#include <string>
#include <utility>

#include "engine/core/declaration.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// The node reference as HTML: formula, ports with shapes, parameters, presets, source.
QString nodePageHtml(const NodeDeclaration& node);

/// The same of a subgraph: what it is for, its ports with what they lead to, its parameters.
QString subgraphPageHtml(const Subgraph& subgraph);

/// How often one node type feeds another in the graph files of a folder: the order of suggestions.
std::map<std::pair<std::string, std::string>, int> followCounts(const QString& folder);

}  // namespace rewardloom
