// Parts of a declaration in words, shared by the terminal and Markdown forms of the node reference.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "engine/core/catalogue.h"

namespace rewardloom::cli {

/// "Rewards [N]"
std::string port_type_text(const Catalogue& catalogue, const PortDeclaration& port);
/// What holds for the port besides its sentence: "optional", "one or more edges", "group_size at
/// least 2".
std::string port_notes(const PortDeclaration& port);
/// "number", "list of texts", "choice"
std::string kind_text(const ParameterDeclaration& parameter);
/// "0.2", "required", "null"
std::string default_text(const ParameterDeclaration& parameter);
/// "0 to 1", "at least 0", "above 0, in rows"; empty where anything goes.
std::string range_text(const ParameterDeclaration& parameter);
/// "epsilon 1e-06, std sample"
std::string params_text(const Json& params);
/// What the planner knows of the node, in sentences.
std::vector<std::string> trait_texts(const NodeDeclaration& node);
/// How a graph would hold the node, as a line of its `nodes`.
std::string example_text(const NodeDeclaration& node);

}  // namespace rewardloom::cli
