// A parameter becomes a swept one: the part of the graph that depends on it runs once per value.
#pragma once
#include "editor/document/graph_edits.h"

namespace rewardloom {

struct SweepValues {
  Json values = Json::array();
  QString fault;  ///< why the text is no list of values, or empty
};

/// "0.1, 0.2", "raw, par", "[1, 2], [3]" for lists, and for numbers "from:to:steps", both ends
/// included, or "from:to:steps log" with equal ratios. At least two, all different, each as the
/// parameter allows.
SweepValues parseSweepValues(const ParameterDeclaration& parameter, const QString& text);

/// The node's parameter becomes one that a new flow.sweep varies. What depends on it moves into the
/// sweep's body: all that is downstream of its readers, and the state that these change, for each
/// branch has its own; the rest stays outside and is shared by the branches. In a subgraph the
/// parameter is first led out through all that run it. Metrics of the body are its outputs. Returns
/// the sweep's name, a node of the graph itself. Throws Failure `swept-already`,
/// `nothing-to-sweep`.
std::string sweepParameter(Document& document, const Scope& scope, const std::string& node,
                           const std::string& parameter, const Json& current, const Json& values,
                           const Catalogue& catalogue);
/// The same for "$name" of the graph.
std::string sweepGraphParameter(Document& document, const std::string& name, const Json& values,
                                const Catalogue& catalogue);

}  // namespace rewardloom
