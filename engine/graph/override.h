// Changes from the command line: --set node.param=value.
#pragma once
#include <string_view>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// Applies "node.param=value", "outer/inner.param=value", "parameters.name=value",
/// "settings.name=value" or "name=value" (a graph parameter). The value is JSON, else text; with a
/// catalogue a text parameter takes `8` as the text "8" and an unknown parameter is refused. A node
/// inside a subgraph that is used more than once is changed in that one place: its subgraph is
/// copied under a new name first. Throws Failure bad-override, which lists near names.
void apply_override(Document& document, std::string_view assignment,
                    const Catalogue* catalogue = nullptr);

}  // namespace rewardloom
