// A node type's own rules, held against parameters and, where they are known, edges.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/declaration.h"

namespace rewardloom {

/// A node as its rules see it. Conditions may name the node's other parameters and inputs:
/// {"max": "$cache"} (no bound where that has no number), {"size": {"edges": INPUT}}.
struct RuledNode {
  const NodeDeclaration& type;
  const Json& params;
  /// How many edges an input has; empty where nobody knows: rules on inputs then do not apply.
  std::function<std::size_t(const std::string&)> edges;
};

/// Whether all conditions of a rule hold: {parameter: condition}, {input: {"connected": bool}}.
bool all_hold(const RuledNode& node, const Json& conditions);

struct RuleFault {
  std::string place;  ///< the parameter or input
  std::string text;
  std::string help;
};
/// What the rules of the node's type have against it, in their order.
std::vector<RuleFault> rule_faults(const RuledNode& node);

}  // namespace rewardloom
