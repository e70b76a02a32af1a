// References become edges: every port's sources are found, counted and held against its type.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/graph/flattener.h"

namespace rewardloom {
namespace {

std::vector<std::string> port_names(const std::vector<PortDeclaration>& ports) {
  std::vector<std::string> names;
  for (const PortDeclaration& port : ports) names.push_back(port.name);
  return names;
}

std::optional<std::size_t> port_index(const std::vector<PortDeclaration>& ports,
                                      std::string_view name) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].name == name) return i;
  }
  return std::nullopt;
}

std::string first_of(const std::vector<std::string>& names, std::size_t limit = 3) {
  return listed(
      {names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), limit))});
}

}  // namespace

void Flattener::connect() {
  for (FlatNode& node : graph_.nodes) connect_node(node);
  for (const FlatInstance& instance : graph_.instances) {
    if (instance.parent_node != nullptr && instance.container < 0) connect_instance(instance);
  }
  connect_outputs();
  find_container_access();
}

void Flattener::connect_node(FlatNode& node) {
  node.edges.resize(node.inputs->size());
  if (node.type == nullptr) return;
  for (const InputEdges& edges : node.graph->inputs) {
    const auto port = port_index(*node.inputs, edges.port);
    if (port) {
      connect_port(node, *port, edges);
      continue;
    }
    if (node.lacks_ports) continue;
    const std::vector<std::string> known = port_names(*node.inputs);
    report(node.order, node.name, edges.port, "unknown-port",
           fmt::format("{} has no input of this name", node.type->id),
           known.empty() ? "it has no inputs" : "its inputs are " + listed(known, "and"),
           node.graph);
  }
  for (std::size_t port = 0; port < node.inputs->size(); ++port) check_count(node, port);
}

void Flattener::connect_port(FlatNode& node, std::size_t port, const InputEdges& edges) {
  const PortDeclaration& declaration = (*node.inputs)[port];
  const FlatInstance& instance = graph_.instances[static_cast<std::size_t>(node.instance)];
  for (const Reference& reference : edges.from) {
    FlatEdge edge;
    edge.reference = &reference;
    const auto given =
        declared(instance, reference, node.name, node.order, declaration.name, node.graph);
    if (given) {
      check_type(instance, node.name, node.order, declaration, reference, *given, node.graph,
                 &node);
      edge.type = given->type;
      if (const auto from = source(instance, reference)) {
        edge.slot = from->slot;
        edge.level_input = from->level_input;
      } else {
        report(node.order, node.name, declaration.name, "cycle",
               fmt::format("{} goes in circles through the inputs and outputs of subgraphs",
                           reference.text()),
               "feed one of the subgraphs from a node", node.graph);
      }
      const bool writes_what_is_read_only =
          declaration.access == Access::write && given->port != nullptr &&
          given->port->access == Access::read && given->type == declaration.type;
      if (writes_what_is_read_only) {
        report(node.order, node.name, declaration.name, "access",
               fmt::format("writes its {}, but {} gives one for reading only", declaration.type,
                           reference.text()),
               "connect the node that owns it", node.graph);
      }
    }
    node.edges[port].push_back(edge);
  }
}

void Flattener::check_count(const FlatNode& node, std::size_t port) {
  const PortDeclaration& declaration = (*node.inputs)[port];
  const std::size_t count = node.edges[port].size();
  const auto unreadable = node.graph->other.find("inputs");
  if (unreadable != node.graph->other.end() && unreadable->contains(declaration.name)) return;
  const auto add = [&](const char* code, std::string text, std::string help) {
    report(node.order, node.name, declaration.name, code, std::move(text), std::move(help),
           node.graph);
  };
  const auto sources = [&]() -> std::string {
    const FlatInstance& instance = graph_.instances[static_cast<std::size_t>(node.instance)];
    const auto names = sources_of_type(instance, declaration.type, "", node.graph->name);
    if (!names.empty()) return "connect " + first_of(names);
    return declaration.doc.empty() ? "" : declaration.name + ": " + declaration.doc;
  };
  if (declaration.variadic) {
    const std::size_t least = static_cast<std::size_t>(declaration.at_least);
    if (count == 0 && least > 0 && !declaration.optional) {
      add("missing-input",
          fmt::format("needs {} {} or more, but nothing is connected", least, declaration.type),
          sources());
    } else if (count < least && count > 0) {
      add("too-few-inputs",
          fmt::format("needs {} {} or more, but has {}", least, declaration.type, count),
          sources());
    }
    return;
  }
  if (count > 1) {
    add("too-many-inputs", fmt::format("takes one {}, but has {}", declaration.type, count),
        "keep one of them");
  } else if (count == 0 && !declaration.optional) {
    add("missing-input",
        fmt::format("needs {}, but nothing is connected",
                    type_text(catalogue_, declaration.type, declaration.dims)),
        sources());
  }
}

void Flattener::connect_instance(const FlatInstance& instance) {
  const FlatInstance& outer = graph_.instances[static_cast<std::size_t>(instance.parent)];
  const GraphNode& node = *instance.parent_node;
  const std::string name = outer.prefix + node.name;
  std::vector<PortDeclaration> ports;
  for (const auto& [port, type] : instance.subgraph->inputs) {
    ports.push_back({.name = port, .type = type});
  }
  for (const InputEdges& edges : node.inputs) {
    const auto port = port_index(ports, edges.port);
    if (!port) {
      const std::vector<std::string> known = port_names(ports);
      report(instance.order, name, edges.port, "unknown-port",
             fmt::format("{} has no input of this name", node.type),
             known.empty() ? "it has no inputs" : "its inputs are " + listed(known, "and"), &node);
      continue;
    }
    for (const Reference& reference : edges.from) {
      const auto given = declared(outer, reference, name, instance.order, edges.port, &node);
      if (given) check_type(outer, name, instance.order, ports[*port], reference, *given, &node);
    }
    if (edges.from.size() > 1) {
      report(instance.order, name, edges.port, "too-many-inputs",
             fmt::format("takes one {}, but has {}", ports[*port].type, edges.from.size()),
             "keep one of them", &node);
    }
  }
  for (const PortDeclaration& port : ports) {
    const InputEdges* const edges = node.input(port.name);
    if (edges != nullptr && !edges->from.empty()) continue;
    const auto names = sources_of_type(outer, port.type, "", node.name);
    report(instance.order, name, port.name, "missing-input",
           fmt::format("needs {}, but nothing is connected", type_text(catalogue_, port.type, "")),
           names.empty() ? "" : "connect " + first_of(names), &node);
  }
}

void Flattener::connect_outputs() {
  for (const FlatInstance& instance : graph_.instances) {
    if (instance.subgraph == nullptr) continue;
    check_input_types(instance);
    const bool outermost = instance.parent < 0 || instance.container >= 0;
    FlatLevel& level = graph_.levels[static_cast<std::size_t>(instance.level)];
    for (const auto& [name, reference] : instance.subgraph->outputs) {
      const auto given = declared_or_nothing(instance, reference);
      const auto from = given ? source(instance, reference) : std::nullopt;
      const int slot = from ? from->slot : -1;
      if (slot >= 0) graph_.slots[static_cast<std::size_t>(slot)].exported = true;
      if (outermost) level.output_slots.push_back(slot);
      if (instance.container >= 0 && slot >= 0) {
        FlatNode& container = graph_.nodes[static_cast<std::size_t>(instance.container)];
        if (const auto port = port_index(*container.outputs, name)) {
          graph_.slots[static_cast<std::size_t>(container.slot(*port))].aliases.push_back(slot);
        }
      }
      if (!given) report_unreachable(instance, name, reference);
    }
  }
}

void Flattener::check_input_types(const FlatInstance& instance) {
  for (const auto& [name, type] : instance.subgraph->inputs) {
    if (catalogue_.type(type) != nullptr) continue;
    std::vector<std::string> known;
    for (const auto& [type_name, declaration] : catalogue_.types()) known.push_back(type_name);
    const std::vector<std::string> near = nearest(type, known);
    report(instance.order, "subgraph." + instance.subgraph->name, name, "unknown-type",
           fmt::format("there is no port type \"{}\"", type),
           near.empty() ? "rewardloom nodes lists the port types" : "did you mean " + listed(near),
           instance.subgraph);
  }
}

void Flattener::report_unreachable(const FlatInstance& instance, const std::string& output,
                                   const Reference& reference) {
  const int inside = member(instance, reference.node);
  const std::vector<std::string> outputs =
      inside < 0 ? std::vector<std::string>() : outputs_of(instance, inside);
  if (inside >= 0 && outputs.empty()) return;  // a node of an unknown type: reported there
  std::vector<std::string> names;
  for (const GraphNode& node : *instance.nodes) names.push_back(node.name);
  report(instance.order, "subgraph." + instance.subgraph->name, output, "unreachable-output",
         fmt::format("names {}, which does not exist", reference.text()),
         inside < 0
             ? "the nodes of the subgraph are " + known_names(reference.node, names)
             : fmt::format("the outputs of {} are {}", reference.node, listed(outputs, "and")),
         instance.subgraph);
}

void Flattener::check_type(const FlatInstance& instance, const std::string& name, int order,
                           const PortDeclaration& port, const Reference& reference,
                           const Declared& given, const void* once, const FlatNode* node) {
  if (given.type == port.type) return;
  const bool known =
      catalogue_.type(given.type) != nullptr && catalogue_.type(port.type) != nullptr;
  if (!known) return;  // the name of the type is reported
  std::string help = node == nullptr ? "" : other_input_help(*node, port, reference, given);
  if (help.empty()) help = mismatch_help(instance, port, reference, given);
  report(order, name, port.name, "type-mismatch",
         fmt::format("expects {}, but {} gives {}", type_text(catalogue_, port.type, port.dims),
                     reference.text(), type_text(catalogue_, given.type, given.dims)),
         std::move(help), once);
}

std::string Flattener::other_input_help(const FlatNode& node, const PortDeclaration& port,
                                        const Reference& reference, const Declared& given) const {
  // Something else of the wanted type would pass the check, and be another thing than was meant.
  for (const PortDeclaration& input : *node.inputs) {
    const bool free = input.variadic || node.graph->input(input.name) == nullptr;
    if (input.type != given.type || !free) continue;
    return fmt::format("connect {} to the input {} instead of {}", reference.text(), input.name,
                       port.name);
  }
  return {};
}

std::string Flattener::mismatch_help(const FlatInstance& instance, const PortDeclaration& port,
                                     const Reference& reference, const Declared& given) {
  std::vector<std::string> ways;
  const std::vector<std::string> converters = catalogue_.converters(given.type, port.type);
  if (!converters.empty()) ways.push_back("put " + first_of(converters) + " between them");
  const auto siblings = sources_of_type(instance, port.type, reference.node);
  if (!siblings.empty()) ways.push_back("connect " + first_of(siblings));
  if (!ways.empty()) return fmt::format("{}", fmt::join(ways, ", or "));
  const auto others = sources_of_type(instance, port.type, {});
  if (!others.empty()) return "connect " + first_of(others);
  std::vector<std::string> makers;
  for (const auto& [id, type] : catalogue_.nodes()) {
    for (const PortDeclaration& output : type.outputs) {
      if (output.type != port.type || !output.same_as.empty()) continue;
      makers.push_back(id);
      break;
    }
  }
  if (makers.empty()) return fmt::format("no node type gives {}", port.type);
  return fmt::format("no node here gives {}; {} would", port.type, first_of(makers));
}

std::vector<std::string> Flattener::sources_of_type(const FlatInstance& instance,
                                                    std::string_view type,
                                                    std::string_view only_node,
                                                    std::string_view but_node) {
  constexpr std::size_t enough = 8;
  if (!may_search(instance)) return {};
  std::vector<std::string> makers;
  std::vector<std::string> passers;  // outputs that pass on a handle: rather its maker
  for (const GraphNode& node : *instance.nodes) {
    if (node.name == but_node || (!only_node.empty() && node.name != only_node)) continue;
    for (const std::string& port : outputs_of(instance, member(instance, node.name))) {
      const Reference reference{node.name, port};
      const auto given = declared_or_nothing(instance, reference);
      if (!given || given->type != type) continue;
      const bool passes = given->port != nullptr && !given->port->same_as.empty();
      (passes ? passers : makers).push_back(reference.text());
    }
    if (makers.size() > enough) break;
  }
  return makers.empty() ? passers : makers;
}

std::optional<Flattener::Declared> Flattener::declared(const FlatInstance& instance,
                                                       const Reference& reference,
                                                       const std::string& name, int order,
                                                       const std::string& port, const void* once) {
  if (reference.node.empty() || reference.port.empty()) {
    const int inside = member(instance, reference.node);
    const std::vector<std::string> outputs =
        inside < 0 ? std::vector<std::string>() : outputs_of(instance, inside);
    report(
        order, name, port, "bad-reference",
        fmt::format("expects \"node.port\", but is \"{}\"", reference.text()),
        outputs.empty() ? "" : fmt::format("did you mean {}.{}", reference.node, listed(outputs)),
        once);
    return std::nullopt;
  }
  if (auto given = declared_or_nothing(instance, reference)) return given;
  if (reference.node == "inputs" && instance.subgraph != nullptr) {
    std::vector<std::string> known;
    for (const auto& [input, type] : instance.subgraph->inputs) known.push_back(input);
    report(order, name, port, "unknown-port",
           fmt::format("subgraph {} has no input {}", instance.subgraph->name, reference.port),
           known.empty() ? "it has no inputs" : "its inputs are " + listed(known, "and"), once);
    return std::nullopt;
  }
  const int inside = member(instance, reference.node);
  if (inside < 0) {
    std::vector<std::string> names;
    if (may_search(instance)) {
      for (const GraphNode& node : *instance.nodes) names.push_back(node.name);
    }
    const std::vector<std::string> near = nearest(reference.node, names);
    report(order, name, port, "unknown-node",
           fmt::format("names {}, but there is no node \"{}\"", reference.text(), reference.node),
           names.empty()  ? ""
           : near.empty() ? "the nodes are " + known_names(reference.node, names)
                          : "did you mean " + listed(near),
           once);
    return std::nullopt;
  }
  const FlatInstance::Member& found = instance.members[static_cast<std::size_t>(inside)];
  if (found.child < 0) {
    const bool unknown = found.flat < 0 ||
                         graph_.nodes[static_cast<std::size_t>(found.flat)].type == nullptr ||
                         graph_.nodes[static_cast<std::size_t>(found.flat)].lacks_ports;
    if (unknown) return std::nullopt;  // reported where the node is
  }
  const std::vector<std::string> outputs = outputs_of(instance, inside);
  report(order, name, port, "unknown-port",
         fmt::format("{} has no output {}", reference.node, reference.port),
         outputs.empty() ? "it has no outputs" : "its outputs are " + listed(outputs, "and"), once);
  return std::nullopt;
}

std::optional<Flattener::Declared> Flattener::declared_or_nothing(
    const FlatInstance& instance, const Reference& reference) const {
  if (reference.node == "inputs" && instance.subgraph != nullptr) {
    for (const auto& [name, type] : instance.subgraph->inputs) {
      if (name == reference.port) return Declared{nullptr, type, {}};
    }
    return std::nullopt;
  }
  const int index = member(instance, reference.node);
  if (index < 0) return std::nullopt;
  const FlatInstance::Member& found = instance.members[static_cast<std::size_t>(index)];
  if (found.child >= 0) {
    const FlatInstance& child = graph_.instances[static_cast<std::size_t>(found.child)];
    for (const auto& [name, inner] : child.subgraph->outputs) {
      if (name == reference.port) return declared_or_nothing(child, inner);
    }
    return std::nullopt;
  }
  if (found.flat < 0) return std::nullopt;
  const FlatNode& node = graph_.nodes[static_cast<std::size_t>(found.flat)];
  const auto port = port_index(*node.outputs, reference.port);
  if (!port) return std::nullopt;
  const PortDeclaration& declaration = (*node.outputs)[*port];
  return Declared{&declaration, declaration.type, declaration.dims};
}

std::optional<Flattener::Source> Flattener::source(const FlatInstance& instance,
                                                   const Reference& reference, int depth) const {
  constexpr int deepest = 200;
  if (depth > deepest) return std::nullopt;
  if (reference.node == "inputs" && instance.subgraph != nullptr) {
    const auto& inputs = instance.subgraph->inputs;
    int input = -1;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].first == reference.port) input = static_cast<int>(i);
    }
    if (input < 0) return Source{};
    if (instance.parent_node == nullptr) {
      const FlatLevel& level = graph_.levels[static_cast<std::size_t>(instance.level)];
      return Source{level.outside_slots[static_cast<std::size_t>(input)], input};
    }
    const InputEdges* const edges = instance.parent_node->input(reference.port);
    if (edges == nullptr || edges->from.empty()) {
      return Source{-1, instance.container >= 0 ? input : -1};
    }
    auto outer = source(graph_.instances[static_cast<std::size_t>(instance.parent)],
                        edges->from.front(), depth + 1);
    if (outer && instance.container >= 0) outer->level_input = input;
    return outer;
  }
  const int index = member(instance, reference.node);
  if (index < 0) return Source{};
  const FlatInstance::Member& found = instance.members[static_cast<std::size_t>(index)];
  if (found.child >= 0) {
    const FlatInstance& child = graph_.instances[static_cast<std::size_t>(found.child)];
    for (const auto& [name, inner] : child.subgraph->outputs) {
      if (name == reference.port) return source(child, inner, depth + 1);
    }
    return Source{};
  }
  if (found.flat < 0) return Source{};
  const FlatNode& node = graph_.nodes[static_cast<std::size_t>(found.flat)];
  const auto port = port_index(*node.outputs, reference.port);
  return port ? Source{node.slot(*port), -1} : Source{};
}

bool Flattener::may_search(const FlatInstance& instance) {
  constexpr std::size_t large = 300;
  return instance.nodes->size() < large || searches_left_-- > 0;
}

std::vector<std::string> Flattener::outputs_of(const FlatInstance& instance, int index) const {
  std::vector<std::string> names;
  const FlatInstance::Member& found = instance.members[static_cast<std::size_t>(index)];
  if (found.child >= 0) {
    const FlatInstance& child = graph_.instances[static_cast<std::size_t>(found.child)];
    for (const auto& [name, inner] : child.subgraph->outputs) names.push_back(name);
  } else if (found.flat >= 0) {
    names = port_names(*graph_.nodes[static_cast<std::size_t>(found.flat)].outputs);
  }
  return names;
}

const Flattener::Index& Flattener::index(const FlatInstance& instance) const {
  Index& index = indices_[instance.nodes];
  if (index.empty()) {
    for (std::size_t i = 0; i < instance.nodes->size(); ++i) {
      index.emplace((*instance.nodes)[i].name, static_cast<int>(i));
    }
  }
  return index;
}

int Flattener::member(const FlatInstance& instance, std::string_view name) const {
  const Index& names = index(instance);
  const auto it = names.find(name);
  return it == names.end() ? -1 : it->second;
}

}  // namespace rewardloom
