#include "engine/graph/schema.h"

#include <fmt/format.h>

#include "engine/core/problem.h"
#include "engine/graph/document.h"
#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

Json see(const std::string& name) { return {{"$ref", "#/$defs/" + name}}; }

Json described(Json schema, const std::string& doc) {
  if (!doc.empty()) schema["description"] = doc;
  return schema;
}

Json kind_schema(ParameterKind kind) {
  switch (kind) {
    case ParameterKind::boolean: return {{"type", "boolean"}};
    case ParameterKind::integer: return {{"type", "integer"}};
    case ParameterKind::number: return {{"type", "number"}};
    case ParameterKind::text:
    case ParameterKind::choice: return {{"type", "string"}};
    case ParameterKind::list: return {{"type", "array"}};
    case ParameterKind::object: return Json::object();
  }
  return Json::object();
}

Json choice_schema(const ParameterDeclaration& p) {
  Json any = Json::array();
  for (const ChoiceDeclaration& choice : p.choices) {
    any.push_back(described({{"const", choice.name}}, choice.doc));
  }
  return {{"oneOf", any}};
}

Json value_schema(const ParameterDeclaration& p) {
  if (p.kind == ParameterKind::choice) return choice_schema(p);
  Json schema = kind_schema(p.kind);
  if (p.min) schema[p.exclusive_min ? "exclusiveMinimum" : "minimum"] = *p.min;
  if (p.max) schema[p.exclusive_max ? "exclusiveMaximum" : "maximum"] = *p.max;
  if (p.kind == ParameterKind::list) {
    schema["items"] = {{"anyOf", {kind_schema(p.element), see("parameter")}}};
  }
  return schema;
}

/// A parameter's value, null where it may be, or "$name".
Json parameter_schema(const ParameterDeclaration& p) {
  Json any = Json::array({value_schema(p)});
  if (p.nullable) any.push_back({{"type", "null"}});
  any.push_back(see("parameter"));
  Json schema{{"anyOf", any}};
  if (!p.required) schema["default"] = p.default_value;
  std::string doc = p.doc;
  if (!p.unit.empty()) doc += fmt::format("{}({})", doc.empty() ? "" : " ", p.unit);
  return described(schema, doc);
}

Json params_schema(const NodeDeclaration& node) {
  Json properties = Json::object();
  Json needed = Json::array();
  for (const ParameterDeclaration& p : node.params) {
    properties[p.name] = parameter_schema(p);
    if (p.required) needed.push_back(p.name);
  }
  if (!node.bodies.empty() && !properties.contains("with")) {
    properties["with"] = {{"type", "object"},
                          {"description", "values of the parameters that the body promotes"}};
  }
  Json schema{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
  if (!needed.empty()) schema["required"] = needed;
  return schema;
}

Json input_schema(const Catalogue& catalogue, const PortDeclaration& port) {
  const PortTypeDeclaration* const type = catalogue.type(port.type);
  const std::string dims = !port.dims.empty() ? port.dims : type == nullptr ? "" : type->dims;
  const std::string shown = dims.empty() ? port.type : fmt::format("{} [{}]", port.type, dims);
  const std::string doc = port.doc.empty() ? shown : fmt::format("{}: {}", shown, port.doc);
  if (!port.variadic) return described(see("edge"), doc);
  Json list{{"type", "array"}, {"items", see("reference")}, {"minItems", port.at_least}};
  return described({{"anyOf", {see("reference"), list}}}, doc);
}

Json inputs_schema(const Catalogue& catalogue, const NodeDeclaration& node) {
  Json properties = Json::object();
  Json needed = Json::array();
  for (const PortDeclaration& port : node.inputs) {
    properties[port.name] = input_schema(catalogue, port);
    if (!port.optional) needed.push_back(port.name);
  }
  Json schema{{"type", "object"}, {"properties", properties}};
  // A container has the inputs of its bodies too.
  schema["additionalProperties"] = node.bodies.empty() ? Json(false) : see("edge");
  if (!needed.empty()) schema["required"] = needed;
  return schema;
}

Json node_type_schema(const Catalogue& catalogue, const NodeDeclaration& node) {
  std::string doc = node.title;
  for (const PortDeclaration& port : node.outputs) {
    doc += fmt::format("\noutput {}: {}{}{}", port.name, port.type, port.doc.empty() ? "" : ", ",
                       port.doc);
  }
  if (!node.source.empty()) doc += "\nsource: " + node.source;
  Json schema{{"title", node.id}, {"description", doc}};
  const Json params = params_schema(node);
  const Json inputs = inputs_schema(catalogue, node);
  Json needed = Json::array();
  if (params.contains("required")) needed.push_back("params");
  if (inputs.contains("required")) needed.push_back("inputs");
  schema["properties"] = {{"params", params}, {"inputs", inputs}};
  if (!needed.empty()) schema["required"] = needed;
  return schema;
}

Json node_schema(const Catalogue& catalogue) {
  Json ids = Json::array();
  Json cases = Json::array();
  for (const auto& [id, node] : catalogue.nodes()) {
    ids.push_back(described({{"const", id}}, node.title));
    cases.push_back({{"if", {{"properties", {{"type", {{"const", id}}}}}, {"required", {"type"}}}},
                     {"then", see("nodes/" + id)}});
  }
  ids.push_back(
      {{"pattern", "^subgraph\\."}, {"description", "a subgraph of this file as a node"}});
  Json action{{"enum", {"stop", "skip_row", "skip", "retry"}}};
  Json on_error{{"anyOf",
                 {action,
                  {{"type", "object"},
                   {"properties",
                    {{"policy", action},
                     {"attempts", {{"type", "integer"}, {"minimum", 1}, {"maximum", 1000}}}}},
                   {"required", {"policy"}}}}},
                {"description", "what happens when the node fails"}};
  Json properties;
  properties["type"] = {{"type", "string"}, {"anyOf", ids}};
  properties["about"] = {{"type", "string"}};
  properties["role"] = {{"const", "gold"},
                        {"description", "what the node gives is for measuring only"}};
  properties["mode"] = {
      {"enum", {"mute", "bypass"}},
      {"description",
       "mute: neither it nor what needs it runs; bypass: who reads it gets its first input of the "
       "same type"}};
  properties["inputs"] = {{"type", "object"}, {"additionalProperties", see("edge_or_list")}};
  properties["params"] = {{"type", "object"}};
  properties["on_error"] = on_error;
  properties["deadline"] = {
      {"type", "number"}, {"exclusiveMinimum", 0}, {"description", "seconds"}};
  return {{"type", "object"}, {"required", {"type"}}, {"properties", properties}, {"allOf", cases}};
}

Json settings_schema() {
  Json properties = Json::object();
  for (const SettingDeclaration& s : setting_declarations()) {
    Json schema = value_schema(s);
    schema["default"] = s.default_value;
    properties[s.name] = described(schema, s.doc);
  }
  return {{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
}

Json nodes_object() { return {{"type", "object"}, {"additionalProperties", see("node")}}; }

Json subgraph_schema() {
  const Json text{{"type", "string"}};
  Json properties;
  properties["about"] = text;
  properties["parameters"] = {{"type", "object"},
                              {"description", "promoted parameters with their defaults"}};
  properties["inputs"] = {{"type", "object"}, {"additionalProperties", see("port_type")}};
  properties["nodes"] = nodes_object();
  properties["outputs"] = {{"type", "object"}, {"additionalProperties", see("reference")}};
  return {{"type", "object"}, {"required", {"nodes"}}, {"properties", properties}};
}

Json placement_schema() {
  Json properties;
  properties["device"] = {{"type", "string"}, {"description", "cpu, cuda:0, ..."}};
  properties["threads"] = {{"type", "integer"}, {"minimum", 1}};
  const Json number{{"type", "integer"}, {"minimum", 0}};
  properties["micro_batch"] = {{"anyOf", {number, {{"const", "auto"}}}}};
  properties["rank"] = {{"type", "integer"}, {"minimum", 0}};
  return {{"type", "object"},
          {"additionalProperties", {{"type", "object"}, {"properties", properties}}}};
}

Json definitions(const Catalogue& catalogue) {
  Json defs;
  defs["reference"] = {{"type", "string"},
                       {"pattern", "^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$"},
                       {"description", "node.port"}};
  defs["edge"] = {
      {"anyOf",
       {see("reference"), {{"type", "array"}, {"items", see("reference")}, {"maxItems", 1}}}}};
  defs["edge_or_list"] = {
      {"anyOf", {see("reference"), {{"type", "array"}, {"items", see("reference")}}}}};
  defs["parameter"] = {{"type", "string"},
                       {"pattern", "^\\$[A-Za-z_][A-Za-z0-9_]*$"},
                       {"description", "the value of a parameter of the graph"}};
  Json types = Json::array();
  for (const auto& [name, type] : catalogue.types()) {
    types.push_back(described({{"const", name}}, type.doc));
  }
  defs["port_type"] = types.empty() ? Json{{"type", "string"}} : Json{{"oneOf", types}};
  defs["node"] = node_schema(catalogue);
  defs["subgraph"] = subgraph_schema();
  defs["nodes"] = Json::object();
  for (const auto& [id, node] : catalogue.nodes()) {
    defs["nodes"][id] = node_type_schema(catalogue, node);
  }
  return defs;
}

}  // namespace

Json graph_schema(const Catalogue& catalogue) {
  const Json text{{"type", "string"}};
  Json properties;
  properties["rewardloom"] = {{"const", kGraphFormat}, {"description", "version of the format"}};
  properties["name"] = text;
  properties["about"] = text;
  properties["parameters"] = {{"type", "object"}, {"description", "what $name stands for"}};
  properties["settings"] = settings_schema();
  properties["nodes"] = nodes_object();
  properties["subgraphs"] = {{"type", "object"}, {"additionalProperties", see("subgraph")}};
  properties["placement"] = placement_schema();
  properties["layout"] = {{"type", "object"}};
  Json schema;
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "RewardLoom graph";
  schema["type"] = "object";
  schema["required"] = {"rewardloom", "nodes"};
  schema["properties"] = properties;
  schema["$defs"] = definitions(catalogue);
  return schema;
}

}  // namespace rewardloom
