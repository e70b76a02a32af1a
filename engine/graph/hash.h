// Stable fingerprints of a graph, as 16 hexadecimal digits (FNV-1a, 64 bits).
#pragma once
#include <string>

#include "engine/graph/document.h"

namespace rewardloom {

/// Of the meaning alone: nodes, subgraphs, parameters and the settings that change numbers.
/// Independent of placement, layout, about, the order of keys, and of 1 against 1.0.
std::string graph_hash(const Document& document);
/// Of the parameter values alone (graph parameters, node parameters and settings).
std::string parameter_hash(const Document& document);
/// Of any JSON value, with the same independence of key order and number spelling.
std::string json_hash(const Json& value);

}  // namespace rewardloom
