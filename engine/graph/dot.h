// A picture of a graph in Graphviz's language.
#pragma once
#include <string>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// DOT text: one box per node, subgraphs and container bodies as clusters, port types on edges,
/// handles dashed. Unknown node types are drawn with a dotted border.
std::string dot_text(const Document& document, const Catalogue& catalogue);

}  // namespace rewardloom
