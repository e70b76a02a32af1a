// Muted and bypassed nodes: which part of a document runs. A rewriting of the document before it is
// checked and compiled, so that nothing after it knows of modes.
#pragma once
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// Whether any node, of subgraphs too, is muted or bypassed.
bool has_modes(const Document& document);

/// The document without its modes:
/// - a muted node is gone, and with it every node that lacks a required input without it, or has no
///   input left; other optional and variadic inputs just lose the edge;
/// - a bypassed node is gone, and who read an output reads what feeds the node's first input of
///   the same type. Where no such input is wired, that is a problem (`bypass-no-input`).
/// What only such nodes used (subgraphs, graph parameters, placements) is gone too. `problems`
/// gets a note for every node that does not run, with its reason.
Document active_part(const Document& document, const Catalogue& catalogue,
                     std::vector<Problem>& problems);

}  // namespace rewardloom
