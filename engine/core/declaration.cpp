#include "engine/core/declaration.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

template <class T>
const T* named(const std::vector<T>& items, std::string_view name) {
  for (const T& item : items) {
    if (item.name == name) return &item;
  }
  return nullptr;
}

constexpr std::string_view kKinds[] = {"boolean", "integer", "number", "text",
                                       "choice",  "list",    "object"};

ParameterKind kind_from(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kKinds); ++i) {
    if (kKinds[i] == name) return static_cast<ParameterKind>(i);
  }
  throw Failure("bad-declaration", fmt::format("unknown parameter kind \"{}\"", name));
}

void put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}
void put(Json& json, const char* key, bool value) {
  if (value) json[key] = true;
}
void put(Json& json, const char* key, const Json& value) {
  if (!value.empty()) json[key] = value;
}
void put(Json& json, const char* key, const std::vector<std::string>& value) {
  if (!value.empty()) json[key] = value;
}

Json port_json(const PortDeclaration& port) {
  Json json;
  json["name"] = port.name;
  json["type"] = port.type;
  json["doc"] = port.doc;
  put(json, "dims", port.dims);
  if (port.access != Access::value) json["access"] = to_string(port.access);
  put(json, "optional", port.optional);
  put(json, "variadic", port.variadic);
  if (port.variadic) json["at_least"] = port.at_least;
  put(json, "same_as", port.same_as);
  put(json, "gold", port.gold);
  put(json, "facts", port.facts);
  put(json, "needs", port.needs);
  return json;
}

PortDeclaration port_from(const Json& json) {
  PortDeclaration port;
  port.name = json.at("name");
  port.type = json.at("type");
  port.doc = json.value("doc", "");
  port.dims = json.value("dims", "");
  const std::string access = json.value("access", "value");
  port.access = access == "read" ? Access::read : access == "write" ? Access::write : Access::value;
  port.optional = json.value("optional", false);
  port.variadic = json.value("variadic", false);
  port.at_least = json.value("at_least", 1);
  port.same_as = json.value("same_as", "");
  port.gold = json.value("gold", false);
  port.facts = json.value("facts", Json::object());
  port.needs = json.value("needs", Json::object());
  return port;
}

Json param_json(const ParameterDeclaration& p) {
  Json json;
  json["name"] = p.name;
  json["kind"] = to_string(p.kind);
  if (p.required) {
    json["required"] = true;
  } else {
    json["default"] = p.default_value;
  }
  json["doc"] = p.doc;
  put(json, "nullable", p.nullable);
  if (p.min) json["min"] = *p.min;
  if (p.max) json["max"] = *p.max;
  put(json, "exclusive_min", p.exclusive_min);
  put(json, "exclusive_max", p.exclusive_max);
  put(json, "unit", p.unit);
  put(json, "path", p.path);
  if (p.kind == ParameterKind::list) json["element"] = to_string(p.element);
  for (const ChoiceDeclaration& choice : p.choices) {
    json["choices"].push_back({{"name", choice.name}, {"doc", choice.doc}});
  }
  return json;
}

ParameterDeclaration param_from(const Json& json) {
  ParameterDeclaration p;
  p.name = json.at("name");
  p.kind = kind_from(json.at("kind").get<std::string>());
  p.required = json.value("required", false);
  if (json.contains("default")) p.default_value = json["default"];
  p.doc = json.value("doc", "");
  p.nullable = json.value("nullable", false);
  if (json.contains("min")) p.min = json["min"].get<double>();
  if (json.contains("max")) p.max = json["max"].get<double>();
  p.exclusive_min = json.value("exclusive_min", false);
  p.exclusive_max = json.value("exclusive_max", false);
  p.unit = json.value("unit", "");
  p.path = json.value("path", false);
  if (json.contains("element")) p.element = kind_from(json["element"].get<std::string>());
  for (const Json& choice : json.value("choices", Json::array())) {
    p.choices.push_back({choice.at("name"), choice.value("doc", "")});
  }
  return p;
}

Json traits_json(const Traits& traits) {
  Json json = Json::object();
  put(json, "pure", traits.pure);
  put(json, "effect", traits.effect);
  put(json, "converter", traits.converter);
  put(json, "trains", traits.trains);
  put(json, "evaluates", traits.evaluates);
  return json;
}

bool has_kind(ParameterKind kind, const Json& value) {
  switch (kind) {
    case ParameterKind::boolean: return value.is_boolean();
    case ParameterKind::integer:
      return value.is_number_integer() ||
             (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>());
    case ParameterKind::number: return value.is_number();
    case ParameterKind::text:
    case ParameterKind::choice: return value.is_string();
    case ParameterKind::list: return value.is_array();
    case ParameterKind::object: return true;
  }
  return false;
}

/// Whole numbers are held in 64 bits with a sign; JSON has larger ones.
std::optional<std::string> width_fault(const Json& value) {
  using Limits = std::numeric_limits<std::int64_t>;
  const bool above = value.is_number_unsigned()
                         ? value.get<std::uint64_t>() > static_cast<std::uint64_t>(Limits::max())
                         : value.is_number_float() && value.get<double>() >= 0x1p63;
  if (above) {
    return fmt::format("{} is above {}, the largest whole number", value.dump(), Limits::max());
  }
  if (value.is_number_float() && value.get<double>() < -0x1p63) {
    return fmt::format("{} is below {}, the smallest whole number", value.dump(), Limits::min());
  }
  return std::nullopt;
}

std::optional<std::string> range_fault(const ParameterDeclaration& p, const Json& value) {
  const double number = value.get<double>();
  const std::string shown = value.dump();
  if (p.min && (p.exclusive_min ? number <= *p.min : number < *p.min)) {
    return p.exclusive_min ? fmt::format("{} must be above {}", shown, *p.min)
                           : fmt::format("{} is below the minimum {}", shown, *p.min);
  }
  if (p.max && (p.exclusive_max ? number >= *p.max : number > *p.max)) {
    return p.exclusive_max ? fmt::format("{} must be below {}", shown, *p.max)
                           : fmt::format("{} is above the maximum {}", shown, *p.max);
  }
  return std::nullopt;
}

std::string_view article_kind(ParameterKind kind) {
  switch (kind) {
    case ParameterKind::boolean: return "true or false";
    case ParameterKind::integer: return "a whole number";
    case ParameterKind::number: return "a number";
    case ParameterKind::text: return "a text";
    case ParameterKind::choice: return "a text";
    case ParameterKind::list: return "a list";
    case ParameterKind::object: return "any JSON value";
  }
  return "";
}

struct Fault {
  std::string code;
  std::string text;
};

std::optional<Fault> find_fault(const ParameterDeclaration& p, const Json& value) {
  if (value.is_null() && p.nullable) return std::nullopt;
  if (!has_kind(p.kind, value)) {
    return Fault{"param-type", fmt::format("expects {}{}, but is {}", article_kind(p.kind),
                                           p.nullable ? " or null" : "", value.dump())};
  }
  if (p.kind == ParameterKind::choice) {
    const std::string name = value.get<std::string>();
    std::vector<std::string> names;
    for (const ChoiceDeclaration& choice : p.choices) {
      if (choice.name == name) return std::nullopt;
      names.push_back(choice.name);
    }
    return Fault{"param-choice",
                 fmt::format("{} is none of {}", value.dump(), listed(names, "and"))};
  }
  if (p.kind == ParameterKind::integer || p.kind == ParameterKind::number) {
    if (auto text = range_fault(p, value)) return Fault{"param-range", *text};
    if (p.kind == ParameterKind::integer) {
      if (auto text = width_fault(value)) return Fault{"param-range", *text};
    }
  }
  if (p.kind == ParameterKind::list) {
    for (const Json& item : value) {
      if (!has_kind(p.element, item)) {
        return Fault{"param-type",
                     fmt::format("expects a list of which every item is {}, but holds {}",
                                 article_kind(p.element), item.dump())};
      }
      if (p.element != ParameterKind::integer) continue;
      if (auto text = width_fault(item)) return Fault{"param-range", *text};
    }
  }
  return std::nullopt;
}

}  // namespace

const PortDeclaration* NodeDeclaration::input(std::string_view name) const {
  return named(inputs, name);
}
const PortDeclaration* NodeDeclaration::output(std::string_view name) const {
  return named(outputs, name);
}
const ParameterDeclaration* NodeDeclaration::param(std::string_view name) const {
  return named(params, name);
}

std::string_view to_string(ParameterKind kind) { return kKinds[static_cast<std::size_t>(kind)]; }

std::string_view to_string(Access access) {
  switch (access) {
    case Access::value: return "value";
    case Access::read: return "read";
    case Access::write: return "write";
  }
  return "value";
}

Json to_json(const NodeDeclaration& node) {
  Json json;
  json["id"] = node.id;
  json["title"] = node.title;
  json["source"] = node.source;
  put(json, "doc", node.doc);
  json["inputs"] = Json::array();
  for (const PortDeclaration& port : node.inputs) json["inputs"].push_back(port_json(port));
  json["outputs"] = Json::array();
  for (const PortDeclaration& port : node.outputs) json["outputs"].push_back(port_json(port));
  json["params"] = Json::array();
  for (const ParameterDeclaration& p : node.params) json["params"].push_back(param_json(p));
  put(json, "states", node.states);
  for (const LossArgumentDeclaration& a : node.loss_arguments) {
    Json argument{{"name", a.name}, {"dims", a.dims}, {"doc", a.doc}};
    put(argument, "optional", a.optional);
    put(argument, "differentiable", a.differentiable);
    json["loss_arguments"].push_back(argument);
  }
  put(json, "supplies", node.supplies);
  for (const BodyDeclaration& body : node.bodies) {
    Json entry{{"parameter", body.parameter}};
    put(entry, "vary", body.vary);
    put(entry, "values", body.values);
    json["bodies"].push_back(entry);
  }
  for (const RuleDeclaration& r : node.rules) {
    json["rules"].push_back(
        {{"when", r.when}, {"require", r.require}, {"text", r.text}, {"help", r.help}});
  }
  for (const PresetDeclaration& preset : node.presets) {
    json["presets"].push_back({{"name", preset.name}, {"params", preset.params}});
  }
  put(json, "synonyms", node.synonyms);
  put(json, "traits", traits_json(node.traits));
  return json;
}

NodeDeclaration node_from_json(const Json& json) {
  NodeDeclaration node;
  node.id = json.at("id");
  node.title = json.value("title", "");
  node.source = json.value("source", "");
  node.doc = json.value("doc", "");
  for (const Json& port : json.at("inputs")) node.inputs.push_back(port_from(port));
  for (const Json& port : json.at("outputs")) node.outputs.push_back(port_from(port));
  for (const Json& p : json.at("params")) node.params.push_back(param_from(p));
  node.states = json.value("states", std::vector<std::string>{});
  for (const Json& a : json.value("loss_arguments", Json::array())) {
    node.loss_arguments.push_back({a.at("name"), a.value("dims", ""), a.value("doc", ""),
                                   a.value("optional", false), a.value("differentiable", false)});
  }
  node.supplies = json.value("supplies", std::vector<std::string>{});
  for (const Json& body : json.value("bodies", Json::array())) {
    node.bodies.push_back({body.at("parameter"), body.value("vary", ""), body.value("values", "")});
  }
  for (const Json& r : json.value("rules", Json::array())) {
    node.rules.push_back({r.at("when"), r.at("require"), r.value("text", ""), r.value("help", "")});
  }
  for (const Json& preset : json.value("presets", Json::array())) {
    node.presets.push_back({preset.at("name"), preset.at("params")});
  }
  node.synonyms = json.value("synonyms", std::vector<std::string>{});
  const Json traits = json.value("traits", Json::object());
  node.traits = {traits.value("pure", false), traits.value("effect", false),
                 traits.value("converter", false), traits.value("trains", false),
                 traits.value("evaluates", false)};
  return node;
}

Json to_json(const PortTypeDeclaration& type) {
  Json json;
  json["name"] = type.name;
  json["doc"] = type.doc;
  json["dims"] = type.dims;
  put(json, "handle", type.handle);
  put(json, "probe", type.probe);
  put(json, "fields", type.fields);
  return json;
}

PortTypeDeclaration port_type_from_json(const Json& json) {
  return {json.at("name"),
          json.value("doc", ""),
          json.value("dims", ""),
          json.value("handle", false),
          json.value("probe", false),
          json.value("fields", std::vector<std::string>{})};
}

std::optional<std::string> fault_of(const ParameterDeclaration& parameter, const Json& value) {
  const auto fault = find_fault(parameter, value);
  return fault ? std::optional(fault->text) : std::nullopt;
}

std::string fault_code(const ParameterDeclaration& parameter, const Json& value) {
  const auto fault = find_fault(parameter, value);
  return fault ? fault->code : std::string();
}

}  // namespace rewardloom
