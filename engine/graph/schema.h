// JSON Schema for graph files, derived from the declarations.
#pragma once
#include "engine/core/catalogue.h"

namespace rewardloom {

/// A JSON Schema (draft 2020-12) with which a text editor completes and checks graph files: per
/// node type its parameters (types, ranges, choices, defaults, explanations) and its input ports.
Json graph_schema(const Catalogue& catalogue);

}  // namespace rewardloom
