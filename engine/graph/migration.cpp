#include "engine/graph/migration.h"

#include <fmt/format.h>

#include <set>
#include <string_view>

#include "engine/core/problem.h"
#include "engine/graph/document.h"
#include "engine/graph/json_text.h"

namespace rewardloom {
namespace {

void rename(Json& object, const std::string& from, const std::string& to) {
  if (!object.is_object() || !object.contains(from)) return;
  Json renamed = Json::object();
  for (auto& [key, value] : object.items()) {
    append_member(renamed, key == from ? to : key, std::move(value));
  }
  object = std::move(renamed);
}

/// Calls `act` with every "nodes" object: the graph's own and those of its subgraphs.
template <class Act>
void for_each_body(Json& graph, Act act) {
  if (graph.contains("nodes") && graph["nodes"].is_object()) act(graph["nodes"], graph);
  if (!graph.contains("subgraphs") || !graph["subgraphs"].is_object()) return;
  for (auto& [name, subgraph] : graph["subgraphs"].items()) {
    if (subgraph.is_object() && subgraph.contains("nodes") && subgraph["nodes"].is_object()) {
      act(subgraph["nodes"], subgraph);
    }
  }
}

bool has_type(const Json& node, const std::string& type) {
  return node.is_object() && node.contains("type") && node["type"] == type;
}

void rename_reference(Json& value, const std::set<std::string>& nodes, const MigrationStep& step) {
  if (value.is_array()) {
    for (Json& item : value) rename_reference(item, nodes, step);
  }
  if (!value.is_string()) return;
  Reference reference = Reference::parse(value.get<std::string>());
  if (reference.port != step.from || !nodes.contains(reference.node)) return;
  reference.port = step.to;
  value = reference.text();
}

void rename_port(Json& nodes, Json& body, const MigrationStep& step) {
  std::set<std::string> affected;
  for (auto& [name, node] : nodes.items()) {
    if (!has_type(node, step.type)) continue;
    affected.insert(name);
    if (node.contains("inputs")) rename(node["inputs"], step.from, step.to);
  }
  for (auto& [name, node] : nodes.items()) {
    if (!node.is_object() || !node.contains("inputs") || !node["inputs"].is_object()) continue;
    for (auto& [port, value] : node["inputs"].items()) rename_reference(value, affected, step);
  }
  if (body.contains("outputs") && body["outputs"].is_object()) {
    for (auto& [name, value] : body["outputs"].items()) rename_reference(value, affected, step);
  }
}

void apply_to_node(Json& node, const MigrationStep& step) {
  switch (step.kind) {
    case MigrationKind::rename_node_key: rename(node, step.from, step.to); break;
    case MigrationKind::rename_type:
      if (has_type(node, step.from)) node["type"] = step.to;
      break;
    case MigrationKind::rename_parameter:
      if (has_type(node, step.type) && node.contains("params")) {
        rename(node["params"], step.from, step.to);
      }
      break;
    case MigrationKind::rename_key:
    case MigrationKind::rename_port: break;
  }
}

void apply(Json& graph, const MigrationStep& step) {
  if (step.kind == MigrationKind::rename_key) return rename(graph, step.from, step.to);
  for_each_body(graph, [&](Json& nodes, Json& body) {
    if (step.kind == MigrationKind::rename_port) return rename_port(nodes, body, step);
    for (auto& [name, node] : nodes.items()) apply_to_node(node, step);
  });
}

}  // namespace

const std::vector<Migration>& graph_migrations() {
  static const std::vector<Migration> migrations;
  return migrations;
}

void migrate(Json& graph, int from, const std::vector<Migration>& migrations) {
  for (int version = from; version < kGraphFormat; ++version) {
    const Migration* found = nullptr;
    for (const Migration& migration : migrations) {
      if (migration.from == version) found = &migration;
    }
    if (found == nullptr) {
      throw Failure("format-version",
                    fmt::format("the file says version {}, but this program reads version {}", from,
                                kGraphFormat),
                    fmt::format("write \"rewardloom\": {}", kGraphFormat));
    }
    for (const MigrationStep& step : found->steps) apply(graph, step);
  }
  graph["rewardloom"] = kGraphFormat;
}

}  // namespace rewardloom
