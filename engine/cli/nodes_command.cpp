#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>

#include "engine/cli/command_line.h"
#include "engine/cli/node_reference.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"
#include "engine/graph/schema.h"

namespace rewardloom::cli {
namespace {

struct NodesGiven {
  std::string type;
  bool json = false;
  bool markdown = false;
  bool schema = false;
  std::vector<std::string> plugins;
};

/// What somebody may have meant: a node type, a family, or the part of a type after the dot.
std::vector<std::string> meant_by(const Catalogue& catalogue, const std::string& word) {
  const std::vector<std::string> ids = catalogue.node_ids();
  if (word.find('.') != std::string::npos) return nearest(word, ids);
  std::map<std::string, std::string> meanings;
  for (const std::string& id : ids) {
    const std::size_t dot = id.find('.');
    meanings.emplace(id.substr(dot + 1), id);
  }
  for (const std::string& id : ids) {
    const std::string family = id.substr(0, id.find('.'));
    meanings.insert_or_assign(family, family);
  }
  std::vector<std::string> names;
  for (const auto& [name, meaning] : meanings) names.push_back(name);
  std::vector<std::string> near = nearest(word, names);
  for (std::string& name : near) name = meanings.at(name);
  return near;
}

[[noreturn]] void refuse_type(const Catalogue& catalogue, const std::string& type) {
  const std::vector<std::string> near = meant_by(catalogue, type);
  throw WrongUsage(
      "unknown-type", fmt::format("there is no node type or family {}", type),
      near.empty() ? "`rewardloom nodes` lists all" : "did you mean " + listed(near) + "?");
}

std::string of_type(const Catalogue& catalogue, const NodesGiven& given, std::size_t width) {
  if (const NodeDeclaration* const node = catalogue.node(given.type)) {
    if (given.json) return to_json(*node).dump() + "\n";
    return given.markdown ? node_markdown(catalogue, *node) : node_text(catalogue, *node, width);
  }
  if (given.json || given.markdown) refuse_type(catalogue, given.type);
  const std::string family = node_list(catalogue, given.type, width);
  if (family.empty()) refuse_type(catalogue, given.type);
  return family;
}

int show_nodes(const NodesGiven& given) {
  const auto registry = make_registry(given.plugins);
  const Catalogue& catalogue = registry->catalogue();
  const auto width = static_cast<std::size_t>(terminal_width(stdout));
  if (given.schema) {
    print(graph_schema(catalogue).dump(2) + "\n");
  } else if (!given.type.empty()) {
    print(of_type(catalogue, given, std::min<std::size_t>(width, 110)));
  } else if (given.json) {
    print(catalogue.to_json().dump() + "\n");
  } else if (given.markdown) {
    print(reference_markdown(catalogue));
  } else {
    print(node_list(catalogue, "", width) +
          fmt::format("\n{}; `rewardloom nodes TYPE` tells all about one\n",
                      counted(catalogue.nodes().size(), "node type")));
  }
  return kDone;
}

}  // namespace

void add_nodes_command(CLI::App& app, Action& action) {
  CLI::App* const command =
      app.add_subcommand("nodes", "lists the node types, or tells all about one of them");
  const auto given = std::make_shared<NodesGiven>();
  command->add_option("TYPE", given->type,
                      "a node type, or a family such as reward (default: all)");
  const auto json = command->add_flag(
      "--json", given->json, "declarations as JSON, which the editor reads (default: text)");
  const auto markdown =
      command->add_flag("--markdown", given->markdown, "the reference in Markdown (default: text)");
  const auto schema = command->add_flag(
      "--schema", given->schema, "the JSON Schema of graph files, for text editors (default: off)");
  json->excludes(markdown)->excludes(schema);
  markdown->excludes(schema);
  add_plugin_option(*command, given->plugins);
  command->callback([&action, given] { action = [given] { return show_nodes(*given); }; });
}

}  // namespace rewardloom::cli
