#include "editor/canvas/wiring.h"

#include <algorithm>
#include <map>
#include <set>

#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

const ShownPort* portNamed(const std::vector<ShownPort>& ports, const std::string& name) {
  for (const ShownPort& port : ports) {
    if (port.name == name) return &port;
  }
  return nullptr;
}

std::optional<ShownPort> portAt(const Document& document, const Scope& scope,
                                const Catalogue& catalogue, const PortEnd& end) {
  if (isBoundary(end.node)) {
    const ShownPorts ports = boundaryPorts(document, scope, end.node, catalogue);
    const ShownPort* port = portNamed(end.output ? ports.outputs : ports.inputs, end.port);
    return port ? std::optional(*port) : std::nullopt;
  }
  const GraphNode* node = findNode(document, scope, end.node);
  if (!node) return std::nullopt;
  const ShownPorts ports = portsOf(document, scope, *node, catalogue);
  const ShownPort* port = portNamed(end.output ? ports.outputs : ports.inputs, end.port);
  return port ? std::optional(*port) : std::nullopt;
}

QString described(const ShownPort& port, const Catalogue& catalogue) {
  if (port.type.empty()) return QStringLiteral("an unknown type");
  std::string dims = port.dims;
  const PortTypeDeclaration* type = catalogue.type(port.type);
  if (dims.empty() && type) dims = type->dims;
  QString text = QString::fromStdString(port.type);
  if (!dims.empty()) text += QStringLiteral(" [%1]").arg(QString::fromStdString(dims));
  return text;
}

/// Whether `to` already feeds `from`, so that a wire between them would close a circle.
bool reaches(const Document& document, const Scope& scope, const std::string& from,
             const std::string& to) {
  std::map<std::string, std::vector<std::string>> sources;
  for (const Wire& wire : wiresOf(document, scope)) sources[wire.node].push_back(wire.from.node);
  std::vector<std::string> open{from};
  std::set<std::string> seen{from};
  while (!open.empty()) {
    const std::string node = open.back();
    open.pop_back();
    if (node == to) return true;
    for (const std::string& source : sources[node]) {
      if (seen.insert(source).second) open.push_back(source);
    }
  }
  return false;
}

bool sameType(const ShownPort& a, const ShownPort& b) {
  // An unknown type is let by: the wire may be what somebody needs to mend the graph.
  return a.type == b.type || a.type.empty() || b.type.empty();
}

}  // namespace

FitVerdict fitOf(const Document& document, const Scope& scope, const Catalogue& catalogue,
                 const PortEnd& a, const PortEnd& b) {
  if (a.output == b.output) {
    return {false,
            {},
            a.output ? QStringLiteral("both are outputs") : QStringLiteral("both are inputs")};
  }
  const PortEnd& out = a.output ? a : b;
  const PortEnd& in = a.output ? b : a;
  if (out.node == in.node) return {false, {}, QStringLiteral("a node cannot feed itself")};
  if (out.node == kInputsNode && in.node == kOutputsNode) {
    return {false, {}, QStringLiteral("an input cannot be an output: put a node between them")};
  }
  const auto from = portAt(document, scope, catalogue, out);
  const auto to = portAt(document, scope, catalogue, in);
  if (!from || !to) return {false, {}, QStringLiteral("there is no such port any more")};
  if (reaches(document, scope, out.node, in.node)) {
    return {false,
            {},
            QStringLiteral("%1 already feeds %2: this would close a circle")
                .arg(QString::fromStdString(in.node), QString::fromStdString(out.node))};
  }
  if (sameType(*from, *to)) return {true, {}, {}};
  FitVerdict verdict;
  verdict.reason = QStringLiteral("%1 expects %2, but %3 gives %4")
                       .arg(QString::fromStdString(to->name), described(*to, catalogue),
                            QString::fromStdString(from->name), described(*from, catalogue));
  const auto converters = catalogue.converters(from->type, to->type);
  if (!converters.empty()) {
    verdict.converter = converters.front();
    verdict.reason += QStringLiteral("; %1 converts it").arg(QString::fromStdString(converters[0]));
  }
  return verdict;
}

std::vector<FittingType> fittingTypes(
    const Document& document, const Scope& scope, const Catalogue& catalogue, const PortEnd& end,
    const std::function<int(const std::string&, const std::string&)>& follows) {
  const auto port = portAt(document, scope, catalogue, end);
  if (!port) return {};
  const GraphNode* node = findNode(document, scope, end.node);
  struct Candidate {
    FittingType fitting;
    int follows;
    bool required;
  };
  std::vector<Candidate> found;
  for (const auto& [id, declaration] : catalogue.nodes()) {
    const auto& ports = end.output ? declaration.inputs : declaration.outputs;
    const PortDeclaration* best = nullptr;
    for (const PortDeclaration& other : ports) {
      if (other.type != port->type) continue;
      if (!best || (best->optional && !other.optional)) best = &other;
    }
    if (!best) continue;
    const int count = node && follows ? follows(node->type, id) : 0;
    found.push_back({{id, best->name}, count, !best->optional});
  }
  std::stable_sort(found.begin(), found.end(), [](const Candidate& a, const Candidate& b) {
    if (a.follows != b.follows) return a.follows > b.follows;
    return a.required && !b.required;
  });
  std::vector<FittingType> list;
  for (Candidate& candidate : found) list.push_back(std::move(candidate.fitting));
  return list;
}

std::string connectThrough(Document& document, const Scope& scope, const Catalogue& catalogue,
                           const std::string& converter, const PortEnd& from, const PortEnd& to,
                           QPointF at) {
  const std::string name = addNode(document, scope, converter, at);
  const auto source = portAt(document, scope, catalogue, from);
  const auto target = portAt(document, scope, catalogue, to);
  const NodeDeclaration* type = catalogue.node(converter);
  if (!source || !target || !type) return name;
  for (const PortDeclaration& input : type->inputs) {
    if (input.type != source->type) continue;
    connectPorts(document, scope, {{from.node, from.port}, name, input.name}, catalogue);
    break;
  }
  for (const PortDeclaration& output : type->outputs) {
    if (output.type != target->type) continue;
    connectPorts(document, scope, {{name, output.name}, to.node, to.port}, catalogue);
    break;
  }
  return name;
}

bool insertIntoWire(Document& document, const Scope& scope, const Catalogue& catalogue,
                    const std::string& node, const Wire& wire) {
  const GraphNode* inserted = findNode(std::as_const(document), scope, node);
  if (!inserted || wire.node == node || wire.from.node == node) return false;
  const auto source = portAt(document, scope, catalogue, {wire.from.node, wire.from.port, true});
  const auto target = portAt(document, scope, catalogue, {wire.node, wire.port, false});
  if (!source || !target) return false;
  const ShownPorts ports = portsOf(document, scope, *inserted, catalogue);
  const auto fitting = [](const std::vector<ShownPort>& list, const std::string& type) {
    return std::find_if(list.begin(), list.end(),
                        [&](const ShownPort& port) { return port.type == type; });
  };
  const auto in = fitting(ports.inputs, source->type);
  const auto out = fitting(ports.outputs, target->type);
  if (in == ports.inputs.end() || out == ports.outputs.end()) return false;
  const std::string inPort = in->name;
  const std::string outPort = out->name;
  if (wire.node == kOutputsNode) {
    connectPorts(document, scope, {{node, outPort}, wire.node, wire.port}, catalogue);
  } else if (GraphNode* end = findNode(document, scope, wire.node)) {
    for (InputEdges& input : end->inputs) {
      if (input.port != wire.port) continue;
      std::replace(input.from.begin(), input.from.end(), wire.from, Reference{node, outPort});
    }
  }
  connectPorts(document, scope, {wire.from, node, inPort}, catalogue);
  return true;
}

}  // namespace rewardloom
