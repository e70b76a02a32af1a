// The node reference, made from declarations: for the terminal and in Markdown.
#pragma once
#include <string>

#include "engine/core/catalogue.h"

namespace rewardloom::cli {

/// All node types by family with their titles; of one family where `family` is not empty.
std::string node_list(const Catalogue& catalogue, const std::string& family, std::size_t width);
/// Everything about one node type: text, ports, parameters, presets, rules, an example.
std::string node_text(const Catalogue& catalogue, const NodeDeclaration& node, std::size_t width);
/// The same in Markdown.
std::string node_markdown(const Catalogue& catalogue, const NodeDeclaration& node);
/// All node types in Markdown, with a table of contents.
std::string reference_markdown(const Catalogue& catalogue);

/// "advantage" of "advantage.group".
std::string family_of(const std::string& id);

}  // namespace rewardloom::cli
