#include "engine/graph/parameters.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/problem.h"
#include "engine/graph/regex_syntax.h"

namespace rewardloom {
namespace {

bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_'; }
bool continues_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

const Json* preset_of(const NodeDeclaration& type, const Json& given) {
  const auto name = given.find("preset");
  if (name == given.end()) return nullptr;
  for (const PresetDeclaration& preset : type.presets) {
    if (*name == preset.name) return &preset.params;
  }
  return nullptr;
}

}  // namespace

std::optional<std::string_view> parameter_name(std::string_view text) {
  if (text.size() < 2 || text[0] != '$' || !starts_name(text[1])) return std::nullopt;
  const std::string_view name = text.substr(1);
  if (!std::all_of(name.begin(), name.end(), continues_name)) return std::nullopt;
  return name;
}

bool has_substitutions(const Json& value) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    return text.starts_with("$$") || parameter_name(text).has_value();
  }
  return value.is_structured() && std::any_of(value.begin(), value.end(), has_substitutions);
}

Json substitute(const Json& value, const Json& parameters, std::vector<std::string>* missing,
                std::vector<std::string>* used) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (text.starts_with("$$")) return text.substr(1);
    const auto name = parameter_name(text);
    if (!name) return value;
    const auto found = parameters.find(*name);
    std::vector<std::string>* const note = found == parameters.end() ? missing : used;
    if (note != nullptr) note->emplace_back(*name);
    return found == parameters.end() ? value : *found;
  }
  if (!value.is_structured() || !has_substitutions(value)) return value;
  Json out = value;
  for (Json& member : out) member = substitute(member, parameters, missing, used);
  return out;
}

Json as_written(const Json& value) {
  if (!has_substitutions(value)) return value;
  if (value.is_string()) return "$" + value.get<std::string>();
  Json out = value;
  for (Json& member : out) member = as_written(member);
  return out;
}

const Json& effective_parameter(const NodeDeclaration& type, const Json& given,
                                std::string_view name) {
  static const Json nothing;
  if (const auto it = given.find(name); it != given.end()) return *it;
  const Json* const preset = preset_of(type, given);
  if (preset != nullptr) {
    if (const auto it = preset->find(name); it != preset->end()) return *it;
  }
  const ParameterDeclaration* const parameter = type.param(name);
  return parameter == nullptr ? nothing : parameter->default_value;
}

Json effective_parameters(const NodeDeclaration& type, const Json& given) {
  Json out = Json::object();
  for (const ParameterDeclaration& parameter : type.params) {
    out[parameter.name] = effective_parameter(type, given, parameter.name);
  }
  return out;
}

bool satisfies(const Json& value, const Json& condition) {
  if (condition.is_array()) {
    return std::find(condition.begin(), condition.end(), value) != condition.end();
  }
  if (!condition.is_object()) return value == condition;
  if (const auto set = condition.find("set"); set != condition.end()) {
    const bool is_set = !value.is_null() && value != "" && value != Json::array();
    if (is_set != set->get<bool>()) return false;
  }
  if (condition.contains("entries") && entry_fault(value, condition)) return false;
  if (const auto size = condition.find("size"); size != condition.end()) {
    if (!value.is_array() || value.size() != size->get<std::size_t>()) return false;
  }
  if (const auto items = condition.find("items"); items != condition.end()) {
    const auto fits = [&](const Json& item) { return satisfies(item, *items); };
    if (!value.is_array() || !std::all_of(value.begin(), value.end(), fits)) return false;
  }
  if (condition.contains("syntax")) {
    if (!value.is_string() || regex_fault(value.get_ref<const std::string&>())) return false;
  }
  if (condition.contains("whole") && !value.is_number_integer()) return false;
  const bool bounded = condition.contains("min") || condition.contains("max");
  if (bounded && !value.is_number()) return false;
  if (condition.contains("min") && value < condition["min"]) return false;
  if (condition.contains("below") && !(value.is_number() && value < condition["below"])) {
    return false;
  }
  return !condition.contains("max") || value <= condition["max"];
}

std::optional<EntryFault> entry_fault(const Json& value, const Json& condition) {
  if (value.is_null()) return std::nullopt;
  if (!value.is_object()) return EntryFault{value.dump() + " is no object", ""};
  const Json& entries = condition.at("entries");
  for (const auto& [name, entry] : value.items()) {
    const auto known = entries.find(name);
    if (known == entries.end()) {
      std::vector<std::string> names;
      for (const auto& [key, ignored] : entries.items()) names.push_back(key);
      const std::vector<std::string> near = nearest(name, names);
      return EntryFault{
          fmt::format("there is no entry \"{}\"", name),
          near.empty() ? "there are " + listed(names, "and") : "did you mean " + listed(near)};
    }
    if (entry.is_null() || known->empty() || satisfies(entry, *known)) continue;
    return EntryFault{fmt::format("{} is {}", name, entry.dump()),
                      fmt::format("it must be {}", condition_text(*known))};
  }
  for (const Json& pair : condition.value("multiples", Json::array())) {
    const auto many = value.find(pair.at(0).get<std::string>());
    const auto few = value.find(pair.at(1).get<std::string>());
    if (many == value.end() || few == value.end() || many->is_null() || few->is_null()) continue;
    if (many->get<std::int64_t>() % few->get<std::int64_t>() == 0) continue;
    return EntryFault{fmt::format("{} is {}, which is no multiple of {}, {}", many.key(),
                                  many->dump(), few.key(), few->dump()),
                      ""};
  }
  return std::nullopt;
}

std::string condition_text(const Json& condition) {
  if (condition.is_array()) {
    std::vector<std::string> values;
    for (const Json& value : condition) values.push_back(value.dump());
    return listed(values);
  }
  if (!condition.is_object()) return condition.dump();
  std::vector<std::string> parts;
  if (condition.contains("whole")) parts.push_back("a whole number");
  if (condition.contains("size")) parts.push_back(condition["size"].dump() + " values");
  if (condition.contains("syntax")) parts.push_back("a regular expression");
  if (condition.contains("min")) parts.push_back("at least " + condition["min"].dump());
  if (condition.contains("below")) parts.push_back("below " + condition["below"].dump());
  if (condition.contains("max")) parts.push_back("at most " + condition["max"].dump());
  if (condition.contains("items")) {
    parts.push_back("a list of values that are each " + condition_text(condition["items"]));
  }
  if (condition.contains("set"))
    parts.push_back(condition["set"].get<bool>() ? "a value" : "no value");
  return listed(parts, "and");
}

}  // namespace rewardloom
