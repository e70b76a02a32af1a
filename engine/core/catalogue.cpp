#include "engine/core/catalogue.h"

#include <fmt/format.h>

#include "engine/core/problem.h"

namespace rewardloom {

void Catalogue::add(NodeDeclaration node) {
  const std::string id = node.id;
  if (!nodes_.emplace(id, std::move(node)).second) {
    throw Failure("duplicate-node", fmt::format("the node type {} is declared twice", id),
                  "rename one of the two, or load only one of the plug-ins that bring it");
  }
}

void Catalogue::add(PortTypeDeclaration type) {
  const std::string name = type.name;
  if (!types_.emplace(name, std::move(type)).second) {
    throw Failure("duplicate-type", fmt::format("the port type {} is declared twice", name));
  }
}

const NodeDeclaration* Catalogue::node(std::string_view id) const {
  const auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : &it->second;
}

const PortTypeDeclaration* Catalogue::type(std::string_view name) const {
  const auto it = types_.find(name);
  return it == types_.end() ? nullptr : &it->second;
}

std::vector<std::string> Catalogue::node_ids() const {
  std::vector<std::string> ids;
  for (const auto& [id, node] : nodes_) ids.push_back(id);
  return ids;
}

namespace {

bool converts(const NodeDeclaration& node, std::string_view from, std::string_view to) {
  if (!node.traits.converter) return false;
  const PortDeclaration* source = nullptr;
  for (const PortDeclaration& port : node.inputs) {
    if (port.optional) continue;
    if (source != nullptr) return false;
    source = &port;
  }
  if (source == nullptr || source->type != from) return false;
  for (const PortDeclaration& port : node.outputs) {
    if (port.type == to) return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> Catalogue::converters(std::string_view from, std::string_view to) const {
  std::vector<std::string> ids;
  for (const auto& [id, node] : nodes_) {
    if (converts(node, from, to)) ids.push_back(id);
  }
  return ids;
}

Json Catalogue::to_json() const {
  Json json;
  json["rewardloom"] = 1;
  json["types"] = Json::array();
  for (const auto& [name, type] : types_) json["types"].push_back(rewardloom::to_json(type));
  json["nodes"] = Json::array();
  for (const auto& [id, node] : nodes_) json["nodes"].push_back(rewardloom::to_json(node));
  return json;
}

Catalogue Catalogue::from_json(const Json& json) {
  Catalogue catalogue;
  for (const Json& type : json.at("types")) catalogue.add(port_type_from_json(type));
  for (const Json& node : json.at("nodes")) catalogue.add(node_from_json(node));
  return catalogue;
}

}  // namespace rewardloom
