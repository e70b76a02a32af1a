// What people read about a node type, and what usually follows what.
#pragma once
#include <QString>
#include <map>
#include <string>
#include <utility>

#include "engine/core/declaration.h"

namespace rewardloom {

/// The node reference as HTML: formula, ports with shapes, parameters, presets, source.
QString nodePageHtml(const NodeDeclaration& node);

/// How often one node type feeds another in the graph files of a folder: the order of suggestions.
std::map<std::pair<std::string, std::string>, int> followCounts(const QString& folder);

}  // namespace rewardloom
