// Parameter values: "$name" is replaced, then every value is held against its declaration.
#include <fmt/format.h>

#include <filesystem>

#include "engine/core/graph_paths.h"
#include "engine/graph/flattener.h"
#include "engine/graph/parameters.h"
#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

std::string bounds_text(const ParameterDeclaration& p) {
  if (p.min && p.max) return fmt::format("{} to {}", *p.min, *p.max);
  if (p.min) return fmt::format("{} {}", p.exclusive_min ? "above" : "at least", *p.min);
  return fmt::format("{} {}", p.exclusive_max ? "below" : "at most", *p.max);
}

/// What the parameter is for and what it may be: "temperature: softmax temperature (at least 0)".
std::string parameter_help(const ParameterDeclaration& p) {
  const bool bounded = p.min || p.max;
  if (p.doc.empty()) return bounded ? fmt::format("{} must be {}", p.name, bounds_text(p)) : "";
  return fmt::format("{}: {}{}", p.name, p.doc,
                     bounded ? fmt::format(" ({})", bounds_text(p)) : "");
}

/// The first "$NAME" in a value, at any depth; empty where there is none.
std::string reference_in(const Json& value) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    return parameter_name(text) ? text : std::string();
  }
  if (!value.is_structured()) return {};
  for (const Json& member : value) {
    if (std::string found = reference_in(member); !found.empty()) return found;
  }
  return {};
}

}  // namespace

const Json* Flattener::resolved_params(const FlatInstance& instance, const GraphNode& node,
                                       const std::string& name, int order,
                                       const NodeDeclaration* type) {
  std::vector<std::string> missing;
  std::vector<std::string> used;
  const bool container = type != nullptr && !type->bodies.empty();
  if (!has_substitutions(node.params) && !container) return &node.params;
  Json& resolved = graph_.owned_params.emplace_back(Json::object());
  for (const auto& [key, value] : node.params.items()) {
    missing.clear();
    resolved[key] = substitute(value, instance.parameters, &missing, &used);
    for (const std::string& wanted : missing) {
      const std::vector<std::string> known = keys_of(instance.parameters);
      const std::string owner =
          instance.subgraph == nullptr ? "the graph" : "subgraph " + instance.subgraph->name;
      report(order, name, key, "unknown-graph-parameter",
             fmt::format("${} names no parameter of {}", wanted, owner),
             (known.empty() ? "it has none" : "its parameters are " + known_names(wanted, known)) +
                 fmt::format("; write $${} for the text itself", wanted),
             &node);
    }
  }
  auto& all_used = used_parameters_[instance.nodes];
  all_used.insert(used.begin(), used.end());
  return &resolved;
}

void Flattener::check_params(const FlatNode& node) {
  for (const auto& [name, value] : node.params->items()) {
    const ParameterDeclaration* const parameter = node.type->param(name);
    if (parameter == nullptr) {
      if (node.container() && name == "with") continue;
      std::vector<std::string> known;
      for (const ParameterDeclaration& p : node.type->params) known.push_back(p.name);
      const std::vector<std::string> near = nearest(name, known);
      report(node.order, node.name, name, "unknown-parameter",
             fmt::format("{} has no parameter of this name", node.type->id),
             known.empty()  ? "it has none"
             : near.empty() ? "its parameters are " + known_names(name, known)
                            : "did you mean " + listed(near),
             node.graph);
      continue;
    }
    // A name that could not be replaced has been reported already.
    if (value.is_string() && parameter_name(value.get_ref<const std::string&>()) &&
        has_substitutions(node.graph->params.value(name, Json()))) {
      continue;
    }
    if (const auto fault = fault_of(*parameter, value)) {
      const Json& written = node.graph->params.at(name);
      const bool indirect = written != value && written.is_string();
      report(node.order, node.name, name, fault_code(*parameter, value),
             indirect ? fmt::format("{} (from {})", *fault, written.get<std::string>()) : *fault,
             parameter_help(*parameter), node.graph);
    } else if (parameter->path && options_.files) {
      check_path(node, *parameter, value);
    }
  }
  for (const ParameterDeclaration& parameter : node.type->params) {
    if (!parameter.required || node.params->contains(parameter.name)) continue;
    if (!effective_parameter(*node.type, *node.params, parameter.name).is_null()) continue;
    report(node.order, node.name, parameter.name, "missing-parameter",
           "has no default, so it must be given", parameter_help(parameter), node.graph);
  }
}

void Flattener::check_path(const FlatNode& node, const ParameterDeclaration& parameter,
                           const Json& value) {
  if (value.is_array()) {
    for (const Json& item : value) check_path(node, parameter, item);
    return;
  }
  if (!value.is_string() || value == "") return;
  const std::string path = value.get<std::string>();
  std::error_code ignored;
  if (path.find("://") != std::string::npos || std::filesystem::exists(path, ignored)) return;
  if (beside_graph(document_.file, path)) return;
  const std::string folder = std::filesystem::path(document_.file).parent_path().string();
  report(node.order, node.name, parameter.name, "missing-file",
         fmt::format("there is no \"{}\"", path),
         folder.empty() ? "paths start at the working directory"
                        : fmt::format("paths start at {} or at the working directory", folder),
         node.graph);
}

Json Flattener::promoted(const Subgraph& subgraph, const Json& given, const std::string& name,
                         int order, const void* once) {
  Json values = subgraph.parameters;
  for (const auto& [key, value] : given.items()) {
    if (values.contains(key)) {
      values[key] = value;
      continue;
    }
    const std::vector<std::string> known = keys_of(subgraph.parameters);
    report(order, name, key, "unknown-parameter",
           fmt::format("subgraph {} has no parameter of this name", subgraph.name),
           known.empty() ? "it promotes no parameters"
                         : "its parameters are " + known_names(key, known),
           once);
  }
  return values;
}

void Flattener::check_unused_parameters() {
  const auto check = [&](const Json& parameters, const void* body, const std::string& node,
                         ProblemList::Section section, const std::string& owner) {
    const auto used = used_parameters_.find(body);
    for (const auto& [name, value] : parameters.items()) {
      if (const std::string reference = reference_in(value); !reference.empty()) {
        problems_.add(
            section, 0,
            Problem{Severity::error,
                    "nested-reference",
                    {document_.file, node, name},
                    fmt::format("is {}, but a parameter of {} holds a value: references are "
                                "replaced in the parameters of nodes alone",
                                value.dump(), owner),
                    fmt::format("write the value that {} stands for", reference),
                    {}});
      }
      if (used != used_parameters_.end() && used->second.contains(name)) continue;
      problems_.add(
          section, 0,
          Problem{Severity::warning,
                  "unused-graph-parameter",
                  {document_.file, node, name},
                  fmt::format("no node of {} uses ${}", owner, name),
                  fmt::format("write \"${}\" where its value should go, or remove it", name),
                  {}});
    }
  };
  check(document_.parameters, &document_.nodes, "parameters", ProblemList::parameters, "the graph");
  for (const Subgraph& subgraph : document_.subgraphs) {
    check(subgraph.parameters, &subgraph.nodes, "subgraph." + subgraph.name, ProblemList::subgraphs,
          "subgraph " + subgraph.name);
  }
}

void Flattener::check_settings() {
  const auto add = [&](const std::string& name, std::string code, std::string text,
                       std::string help) {
    problems_.add(ProblemList::settings, 0,
                  Problem{Severity::error,
                          std::move(code),
                          {document_.file, "settings", name},
                          std::move(text),
                          std::move(help),
                          {}});
  };
  std::vector<std::string> known;
  for (const SettingDeclaration& s : setting_declarations()) known.push_back(s.name);
  for (const auto& [name, value] : document_.settings.items()) {
    const SettingDeclaration* const setting = setting_declaration(name);
    if (setting == nullptr) {
      const std::vector<std::string> near = nearest(name, known);
      add(name, "unknown-parameter", "there is no setting of this name",
          near.empty() ? "the settings are " + listed(known, "and")
                       : "did you mean " + listed(near));
    } else if (const auto fault = fault_of(*setting, value)) {
      add(name, fault_code(*setting, value), *fault, parameter_help(*setting));
    }
  }
}

}  // namespace rewardloom
