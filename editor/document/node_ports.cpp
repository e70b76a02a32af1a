#include <algorithm>
#include <set>

#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

ShownPort shown(const PortDeclaration& port, const Catalogue& catalogue) {
  ShownPort out{port.name,   port.type,     port.doc,     port.dims,
                port.access, port.optional, port.variadic};
  const PortTypeDeclaration* type = catalogue.type(port.type);
  if (out.dims.empty() && type) out.dims = type->dims;
  return out;
}

ShownPort typed(const std::string& name, const std::string& type, const Catalogue& catalogue) {
  ShownPort port{name, type, {}, {}};
  if (const PortTypeDeclaration* declared = catalogue.type(type)) {
    port.doc = declared->doc;
    port.dims = declared->dims;
  }
  return port;
}

void addOnce(std::vector<ShownPort>& ports, ShownPort port) {
  const auto same = [&](const ShownPort& other) { return other.name == port.name; };
  if (std::none_of(ports.begin(), ports.end(), same)) ports.push_back(std::move(port));
}

/// The type of an output inside a subgraph, followed through nested subgraphs and containers.
std::string outputType(const Document& document, const Subgraph& subgraph,
                       const Reference& reference, const Catalogue& catalogue, int depth) {
  if (depth > 16) return {};
  if (reference.node == "inputs") {
    for (const auto& [name, type] : subgraph.inputs) {
      if (name == reference.port) return type;
    }
    return {};
  }
  const GraphNode* node = findNode(document, subgraph.name, reference.node);
  if (!node) return {};
  const NodeDeclaration* type = catalogue.node(node->type);
  if (const PortDeclaration* port = type ? type->output(reference.port) : nullptr) {
    return port->type;
  }
  for (const std::string& body : bodiesOf(*node, catalogue)) {
    const Subgraph* nested = document.subgraph(body);
    if (!nested) continue;
    for (const auto& [name, from] : nested->outputs) {
      if (name == reference.port) return outputType(document, *nested, from, catalogue, depth + 1);
    }
  }
  return {};
}

void addSubgraphPorts(ShownPorts& ports, const Document& document, const Subgraph& subgraph,
                      const Catalogue& catalogue) {
  for (const auto& [name, type] : subgraph.inputs) {
    addOnce(ports.inputs, typed(name, type, catalogue));
  }
  for (const auto& [name, from] : subgraph.outputs) {
    addOnce(ports.outputs,
            typed(name, outputType(document, subgraph, from, catalogue, 0), catalogue));
  }
}

/// What a node of an unknown type must have, going by its wires.
void addWiredPorts(ShownPorts& ports, const Document& document, const Scope& scope,
                   const GraphNode& node) {
  for (const InputEdges& input : node.inputs) {
    ShownPort port{input.port, {}, {}, {}};
    port.variadic = input.list;
    addOnce(ports.inputs, std::move(port));
  }
  for (const Wire& wire : wiresOf(document, scope)) {
    if (wire.from.node == node.name) addOnce(ports.outputs, {wire.from.port, {}, {}, {}});
  }
}

}  // namespace

ShownPorts portsOf(const Document& document, const Scope& scope, const GraphNode& node,
                   const Catalogue& catalogue) {
  ShownPorts ports;
  if (const auto name = node.subgraph()) {
    const Subgraph* subgraph = document.subgraph(*name);
    ports.known = subgraph != nullptr;
    if (subgraph) addSubgraphPorts(ports, document, *subgraph, catalogue);
  } else if (const NodeDeclaration* type = catalogue.node(node.type)) {
    for (const PortDeclaration& port : type->inputs) ports.inputs.push_back(shown(port, catalogue));
    for (const PortDeclaration& port : type->outputs) {
      ports.outputs.push_back(shown(port, catalogue));
    }
    for (const std::string& name : bodiesOf(node, catalogue)) {
      if (const Subgraph* subgraph = document.subgraph(name)) {
        addSubgraphPorts(ports, document, *subgraph, catalogue);
      }
    }
  } else {
    ports.known = false;
  }
  // Wires to ports that do not exist are shown too, or nobody could mend them.
  addWiredPorts(ports, document, scope, node);
  return ports;
}

}  // namespace rewardloom
