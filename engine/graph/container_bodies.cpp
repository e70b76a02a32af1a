// Containers: their bodies become levels of their own, whose inputs and outputs are the container's
// ports.
#include <fmt/format.h>

#include <algorithm>

#include "engine/graph/flattener.h"
#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

struct BodyEntry {
  int position = 0;
  Json entry;
  std::string subgraph;
  Json with = Json::object();
};

/// What a body parameter names; nothing for what is no text, list of texts or list of {"body":
/// NAME}.
std::optional<std::vector<BodyEntry>> entries_of(const Json& value, const Json& params) {
  std::vector<BodyEntry> entries;
  if (value.is_null() || value == "") return entries;
  const auto with = params.find("with");
  if (value.is_string()) {
    const bool given = with != params.end() && with->is_object();
    entries.push_back({0, value, value.get<std::string>(), given ? *with : Json::object()});
    return entries;
  }
  if (!value.is_array()) return std::nullopt;
  for (const Json& item : value) {
    BodyEntry entry{static_cast<int>(entries.size()), item, "", Json::object()};
    const bool object = item.is_object() && item.contains("body") && item["body"].is_string();
    if (!object && !item.is_string()) return std::nullopt;
    entry.subgraph = object ? item["body"].get<std::string>() : item.get<std::string>();
    if (object && item.contains("with")) {
      if (!item["with"].is_object()) return std::nullopt;
      entry.with = item["with"];
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

void Flattener::add_bodies(int flat) {
  const FlatNode& node = graph_.nodes[static_cast<std::size_t>(flat)];
  const NodeDeclaration& type = *node.type;
  std::vector<std::pair<std::size_t, BodyEntry>> bodies;
  std::set<std::string> names;
  bool complete = true;
  for (std::size_t d = 0; d < type.bodies.size(); ++d) {
    const std::string& parameter = type.bodies[d].parameter;
    const Json& value = effective_parameter(type, *node.params, parameter);
    auto entries = entries_of(value, *node.params);
    if (!entries) {
      complete = false;
      report(node.order, node.name, parameter, "param-type",
             "expects the name of a subgraph, or a list of names or of {\"body\": NAME}, but is " +
                 value.dump(),
             "", node.graph);
      continue;
    }
    for (BodyEntry& entry : *entries) {
      const Subgraph* const subgraph = find_subgraph(entry.subgraph);
      if (subgraph == nullptr) {
        complete = false;
        report_unknown_subgraph(node, parameter, entry.subgraph);
        continue;
      }
      names.insert(entry.subgraph);
      bodies.emplace_back(d, std::move(entry));
    }
  }
  graph_.nodes[static_cast<std::size_t>(flat)].lacks_ports = !complete;
  for (const auto& [d, entry] : bodies) {
    add_copies(flat, d, entry.position, entry.entry, entry.with, *find_subgraph(entry.subgraph),
               names.size() == 1);
  }
}

void Flattener::report_unknown_subgraph(const FlatNode& node, const std::string& parameter,
                                        const std::string& subgraph) {
  std::vector<std::string> known;
  for (const Subgraph& s : document_.subgraphs) known.push_back(s.name);
  report(node.order, node.name, parameter, "unknown-subgraph",
         fmt::format("there is no subgraph \"{}\" in this file", subgraph),
         known.empty() ? "the file has no subgraphs"
                       : "its subgraphs are " + known_names(subgraph, known),
         node.graph);
}

/// Branches are known by their values, and two of one name would share their state.
void Flattener::report_equal_values(const FlatNode& node, const std::string& parameter,
                                    const Json& values) {
  const auto name = [](const Json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  };
  std::set<std::string> names;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (names.insert(name(values[i])).second &&
        std::find(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(i), values[i]) ==
            values.begin() + static_cast<std::ptrdiff_t>(i)) {
      continue;
    }
    report(node.order, node.name, parameter, "duplicate-value",
           fmt::format("holds {} more than once, and each value has a branch of its own",
                       values[i].dump()),
           "leave one of them; branches of one value that differ by their seed are asked for with "
           "seeds",
           node.graph);
  }
}

void Flattener::add_copies(int flat, std::size_t declaration, int position, const Json& entry,
                           const Json& with, const Subgraph& subgraph, bool alone) {
  // Adding bodies moves the nodes: nothing of this one is kept by reference.
  const FlatNode node = graph_.nodes[static_cast<std::size_t>(flat)];
  const BodyDeclaration& body = node.type->bodies[declaration];
  const Json& values = effective_parameter(*node.type, *node.params, body.values);
  const Json& vary = effective_parameter(*node.type, *node.params, body.vary);
  const bool copies = !body.values.empty() && values.is_array() && !values.empty();
  bool varies = copies && vary.is_string() && vary != "";
  if (varies && !subgraph.parameters.contains(vary.get<std::string>())) {
    std::vector<std::string> known;
    for (const auto& [key, value] : subgraph.parameters.items()) known.push_back(key);
    report(node.order, node.name, body.vary, "unknown-parameter",
           fmt::format("subgraph {} has no parameter {}", subgraph.name, vary.dump()),
           known.empty() ? "it promotes no parameters"
                         : "its parameters are " + known_names(vary.get<std::string>(), known),
           node.graph);
    varies = false;
  }
  if (varies) report_equal_values(node, body.values, values);
  const std::size_t count = copies ? values.size() : 1;
  for (std::size_t copy = 0; copy < count; ++copy) {
    Json given = with;
    if (varies) given[vary.get<std::string>()] = values[copy];
    const int part = position * static_cast<int>(count) + static_cast<int>(copy);
    add_body(flat, static_cast<int>(declaration), part, entry, subgraph, given, alone);
  }
}

void Flattener::add_body(int flat, int declaration, int part, const Json& entry,
                         const Subgraph& subgraph, const Json& with, bool alone) {
  const FlatNode& node = graph_.nodes[static_cast<std::size_t>(flat)];
  const int owner = node.instance;
  if (recursive(owner, subgraph, *node.graph) || too_many(owner, *node.graph)) {
    graph_.nodes[static_cast<std::size_t>(flat)].lacks_ports = true;
    return;
  }
  used_subgraphs_.insert(&subgraph);
  const int level_id = static_cast<int>(graph_.levels.size());
  FlatLevel level;
  level.container = flat;
  level.declaration = declaration;
  level.part = part;
  level.subgraph = &subgraph;
  level.entry = entry;
  graph_.levels.push_back(std::move(level));
  FlatInstance body;
  body.nodes = &subgraph.nodes;
  body.subgraph = &subgraph;
  body.parent = owner;
  body.parent_node = node.graph;
  body.container = flat;
  body.level = level_id;
  body.order = node.order;
  body.prefix = alone ? node.name + "/" : fmt::format("{}/{}/", node.name, subgraph.name);
  body.parameters = promoted(subgraph, with, node.name, node.order, node.graph);
  graph_.nodes[static_cast<std::size_t>(flat)].bodies.push_back(level_id);
  instantiate(std::move(body));
}

void Flattener::derive_ports(int flat) {
  FlatNode& node = graph_.nodes[static_cast<std::size_t>(flat)];
  auto& inputs = graph_.owned_ports.emplace_back(node.type->inputs);
  auto& outputs = graph_.owned_ports.emplace_back(node.type->outputs);
  derive_inputs(node, inputs);
  derive_outputs(node, outputs);
  node.derived_inputs = &inputs;
  node.inputs = &inputs;
  node.outputs = &outputs;
}

void Flattener::derive_inputs(const FlatNode& node, std::vector<PortDeclaration>& ports) {
  for (const int level : node.bodies) {
    const Subgraph& subgraph = *graph_.levels[static_cast<std::size_t>(level)].subgraph;
    for (const auto& [name, type] : subgraph.inputs) {
      const auto known = std::find_if(ports.begin(), ports.end(),
                                      [&](const PortDeclaration& p) { return p.name == name; });
      if (known == ports.end()) {
        ports.push_back({.name = name, .type = type});
      } else if (known->type != type) {
        container_port_clash(node, name, known->type, type, subgraph.name);
      }
    }
  }
}

void Flattener::derive_outputs(const FlatNode& node, std::vector<PortDeclaration>& ports) {
  const std::size_t own = ports.size();
  for (const int level : node.bodies) {
    const FlatLevel& body = graph_.levels[static_cast<std::size_t>(level)];
    const FlatInstance& instance = graph_.instances[static_cast<std::size_t>(body.instance)];
    for (const auto& [name, reference] : body.subgraph->outputs) {
      const auto given = declared_or_nothing(instance, reference);
      if (!given) continue;
      const auto known = std::find_if(ports.begin(), ports.end(),
                                      [&](const PortDeclaration& p) { return p.name == name; });
      if (known == ports.end()) {
        ports.push_back(
            {.name = name, .type = std::string(given->type), .dims = std::string(given->dims)});
      } else if (known - ports.begin() < static_cast<std::ptrdiff_t>(own)) {
        report(node.order, node.name, name, "container-port",
               fmt::format("{} has an output of this name itself, and subgraph {} has one too",
                           node.type->id, body.subgraph->name),
               "rename the output of the subgraph", node.graph);
      } else if (known->type != given->type) {
        container_port_clash(node, name, known->type, given->type, body.subgraph->name);
      }
    }
  }
}

void Flattener::container_port_clash(const FlatNode& node, const std::string& port,
                                     std::string_view first, std::string_view second,
                                     std::string_view subgraph) {
  report(node.order, node.name, port, "container-port",
         fmt::format("is {} already, but {} in subgraph {}", first, second, subgraph),
         "ports of the same name in a container and its bodies are one port: rename one of them",
         node.graph);
}

void Flattener::find_container_access() {
  // Inner containers were made after the outer ones, so going backwards meets them first.
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    const FlatNode& container = graph_.nodes[i];
    for (const int level : container.bodies) {
      const FlatLevel& body = graph_.levels[static_cast<std::size_t>(level)];
      for (const int inner : body.nodes) {
        const FlatNode& node = graph_.nodes[static_cast<std::size_t>(inner)];
        for (std::size_t p = 0; p < node.edges.size(); ++p) {
          const Access access = (*node.inputs)[p].access;
          for (const FlatEdge& edge : node.edges[p]) {
            if (edge.level_input < 0) continue;
            const auto& name =
                body.subgraph->inputs[static_cast<std::size_t>(edge.level_input)].first;
            for (PortDeclaration& port : *container.derived_inputs) {
              if (port.name == name && port.access < access) port.access = access;
            }
          }
        }
      }
    }
  }
}

}  // namespace rewardloom
