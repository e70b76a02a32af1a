#include "editor/document/graph_edits.h"

#include <fmt/format.h>

#include <QRegularExpression>

#include <algorithm>
#include <map>
#include <set>

#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "engine/core/problem.h"
#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

InputEdges* inputOf(GraphNode& node, const std::string& port) {
  for (InputEdges& input : node.inputs) {
    if (input.port == port) return &input;
  }
  return nullptr;
}

void dropEmptyInputs(GraphNode& node) {
  std::erase_if(node.inputs, [](const InputEdges& input) { return input.from.empty(); });
}

bool isVariadic(const Document& document, const Scope& scope, const GraphNode& node,
                const std::string& port, const Catalogue& catalogue) {
  for (const ShownPort& shown : portsOf(document, scope, node, catalogue).inputs) {
    if (shown.name == port) return shown.variadic;
  }
  return false;
}

/// Calls `visit` for every reference of the scope, those of a subgraph's outputs included.
void forEachReference(Document& document, const Scope& scope,
                      const std::function<void(Reference&)>& visit) {
  for (GraphNode& node : nodesOf(document, scope)) {
    for (InputEdges& input : node.inputs) {
      for (Reference& reference : input.from) visit(reference);
    }
  }
  if (Subgraph* subgraph = scope.empty() ? nullptr : document.subgraph(scope)) {
    for (auto& [name, reference] : subgraph->outputs) visit(reference);
  }
}

std::string typeOfOutput(const Document& document, const Scope& scope, const Reference& from,
                         const Catalogue& catalogue) {
  if (const Subgraph* around = from.node == kInputsNode ? document.subgraph(scope) : nullptr) {
    for (const auto& [name, type] : around->inputs) {
      if (name == from.port) return type;
    }
  }
  const GraphNode* node = findNode(document, scope, from.node);
  if (!node) return {};
  for (const ShownPort& port : portsOf(document, scope, *node, catalogue).outputs) {
    if (port.name == from.port) return port.type;
  }
  return {};
}

/// What could stand in for an output of a node that goes away: the source of its first input of the
/// same type.
std::optional<Reference> substituteFor(const Document& document, const Scope& scope,
                                       const GraphNode& node, const std::string& output,
                                       const Catalogue& catalogue) {
  const ShownPorts ports = portsOf(document, scope, node, catalogue);
  const auto gone = std::find_if(ports.outputs.begin(), ports.outputs.end(),
                                 [&](const ShownPort& port) { return port.name == output; });
  if (gone == ports.outputs.end() || gone->type.empty()) return std::nullopt;
  for (const ShownPort& port : ports.inputs) {
    const InputEdges* edges = node.input(port.name);
    if (port.type == gone->type && edges && edges->from.size() == 1) return edges->from[0];
  }
  return std::nullopt;
}

void healAround(Document& document, const Scope& scope, const GraphNode& gone,
                const Catalogue& catalogue) {
  const Document before = document;
  forEachReference(document, scope, [&](Reference& reference) {
    if (reference.node != gone.name) return;
    if (const auto other = substituteFor(before, scope, gone, reference.port, catalogue)) {
      reference = *other;
    }
  });
}

Json copyJson(const Document& document, const Scope& scope, const std::vector<std::string>& names) {
  Document part;
  part.name = "nodes of " + document.name;
  for (const GraphNode& node : nodesOf(document, scope)) {
    if (std::find(names.begin(), names.end(), node.name) == names.end()) continue;
    part.nodes.push_back(node);
    if (const auto at = position(document, scope, node.name)) {
      setPosition(part, {}, node.name, *at);
    }
    const auto placed = document.placement.find(node.name);
    if (scope.empty() && placed != document.placement.end()) part.placement[node.name] = *placed;
  }
  std::vector<std::string> wanted;
  for (const GraphNode& node : part.nodes) {
    if (const auto name = node.subgraph()) wanted.emplace_back(*name);
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const Subgraph* subgraph = document.subgraph(wanted[i]);
    if (!subgraph || part.subgraph(wanted[i])) continue;
    part.subgraphs.push_back(*subgraph);
    for (const GraphNode& node : subgraph->nodes) {
      if (const auto name = node.subgraph()) wanted.emplace_back(*name);
    }
  }
  return part.to_json();
}

/// The first of `base`, `base_2`, ... that no pair of the list has as its first.
template <class Pairs>
std::string freePort(const Pairs& list, const std::string& base) {
  const auto taken = [&](const std::string& name) {
    return std::any_of(list.begin(), list.end(),
                       [&](const auto& item) { return item.first == name; });
  };
  std::string name = base;
  for (int i = 2; taken(name); ++i) name = fmt::format("{}_{}", base, i);
  return name;
}

/// A new input of the subgraph, called after the port that it feeds and of its type.
std::string newInput(Document& document, const Scope& scope, const Wire& wire,
                     const Catalogue& catalogue) {
  Subgraph* subgraph = document.subgraph(scope);
  const GraphNode* node = findNode(std::as_const(document), scope, wire.node);
  if (!subgraph || !node) return wire.from.port;
  std::string type;
  for (const ShownPort& port : portsOf(document, scope, *node, catalogue).inputs) {
    if (port.name == wire.port) type = port.type;
  }
  const std::string name = freePort(subgraph->inputs, wire.port);
  subgraph->inputs.emplace_back(name, type);
  return name;
}

void connectOutput(Document& document, const Scope& scope, const Wire& wire) {
  Subgraph* subgraph = document.subgraph(scope);
  if (!subgraph || wire.from.node == kInputsNode) return;
  for (auto& [name, from] : subgraph->outputs) {
    if (name != wire.port) continue;
    from = wire.from;
    return;
  }
  const bool fresh = wire.port == kNewPort;
  subgraph->outputs.emplace_back(fresh ? freePort(subgraph->outputs, wire.from.port) : wire.port,
                                 wire.from);
}

/// A way out of the chosen nodes and back into them, as "a -> x -> b", or nothing.
std::string wayOutAndBack(const Document& document, const Scope& scope,
                          const std::set<std::string>& inside) {
  std::map<std::string, std::vector<std::string>> readers;
  for (const Wire& wire : wiresOf(document, scope)) readers[wire.from.node].push_back(wire.node);
  std::map<std::string, std::string> cameFrom;
  std::vector<std::string> open;
  const auto visit = [&](const std::string& from, const std::string& to) {
    if (cameFrom.emplace(to, from).second) open.push_back(to);
  };
  for (const std::string& name : inside) {
    for (const std::string& reader : readers[name]) {
      if (!inside.contains(reader)) visit(name, reader);
    }
  }
  while (!open.empty()) {
    const std::string node = open.back();
    open.pop_back();
    for (const std::string& reader : readers[node]) {
      if (!inside.contains(reader)) {
        visit(node, reader);
        continue;
      }
      std::string way = reader;
      for (std::string at = node;; at = cameFrom.at(at)) {
        way = at + " -> " + way;
        if (inside.contains(at)) return way;
      }
    }
  }
  return {};
}

/// What the nodes of a new subgraph read as "$name" becomes a parameter of it, fed by the same.
void promoteParameters(const Document& document, const Scope& scope, Subgraph& subgraph,
                       GraphNode& call) {
  const Subgraph* around = scope.empty() ? nullptr : document.subgraph(scope);
  const Json& values = around ? around->parameters : document.parameters;
  std::vector<std::string> used;
  for (const GraphNode& node : subgraph.nodes) substitute(node.params, values, nullptr, &used);
  for (const std::string& name : used) {
    subgraph.parameters[name] = values[name];
    call.params[name] = "$" + name;
  }
}

/// What is said of a node, and of those inside of it, is said of `to` instead.
void movePlacement(Json& placement, const std::string& from, const std::string& to) {
  Json moved = Json::object();
  for (const auto& [path, where] : placement.items()) {
    const bool own = path == from || path.starts_with(from + "/");
    moved[own ? to + path.substr(from.size()) : path] = where;
  }
  placement = std::move(moved);
}

/// The dots of wires among the nodes that move into a subgraph go with them; those of wires that
/// then end at the new node are gone.
void moveDots(Document& document, const Scope& scope, const std::set<std::string>& inside,
              const Scope& subgraph, QPointF corner) {
  const std::vector<WireDots> all = wireDots(document, scope);
  std::vector<WireDots> left, moved;
  for (const WireDots& dots : all) {
    const bool from = inside.contains(dots.wire.from.node), to = inside.contains(dots.wire.node);
    if (!from && !to) left.push_back(dots);
    if (!from || !to) continue;
    moved.push_back(dots);
    for (QPointF& point : moved.back().points) point -= corner;
  }
  if (left.size() != all.size()) setWireDots(document, scope, left);
  if (!moved.empty()) setWireDots(document, subgraph, moved);
}

QPointF cornerOf(const Document& document) {
  std::optional<QPointF> corner;
  for (const GraphNode& node : document.nodes) {
    const auto at = position(document, {}, node.name);
    if (!at) continue;
    corner = corner ? QPointF(std::min(corner->x(), at->x()), std::min(corner->y(), at->y())) : *at;
  }
  return corner.value_or(QPointF());
}

}  // namespace

const std::vector<GraphNode>& nodesOf(const Document& document, const Scope& scope) {
  if (scope.empty()) return document.nodes;
  static const std::vector<GraphNode> none;
  const Subgraph* subgraph = document.subgraph(scope);
  return subgraph ? subgraph->nodes : none;
}

std::vector<GraphNode>& nodesOf(Document& document, const Scope& scope) {
  if (scope.empty()) return document.nodes;
  Subgraph* subgraph = document.subgraph(scope);
  if (subgraph) return subgraph->nodes;
  throw Failure("unknown-subgraph", fmt::format("there is no subgraph \"{}\" any more", scope));
}

const GraphNode* findNode(const Document& document, const Scope& scope, std::string_view name) {
  for (const GraphNode& node : nodesOf(document, scope)) {
    if (node.name == name) return &node;
  }
  return nullptr;
}

GraphNode* findNode(Document& document, const Scope& scope, std::string_view name) {
  return const_cast<GraphNode*>(findNode(std::as_const(document), scope, name));
}

std::vector<Wire> wiresOf(const Document& document, const Scope& scope) {
  std::vector<Wire> wires;
  for (const GraphNode& node : nodesOf(document, scope)) {
    for (const InputEdges& input : node.inputs) {
      for (const Reference& from : input.from) wires.push_back({from, node.name, input.port});
    }
  }
  if (const Subgraph* subgraph = scope.empty() ? nullptr : document.subgraph(scope)) {
    for (const auto& [name, from] : subgraph->outputs) wires.push_back({from, kOutputsNode, name});
  }
  return wires;
}

std::string freeName(const Document& document, const Scope& scope, const std::string& base) {
  std::set<std::string_view> taken{"inputs", "outputs"};
  for (const GraphNode& node : nodesOf(document, scope)) taken.insert(node.name);
  if (!taken.contains(base)) return base;
  for (int i = 2;; ++i) {
    const std::string name = fmt::format("{}_{}", base, i);
    if (!taken.contains(name)) return name;
  }
}

std::string nameForType(const std::string& type) {
  const std::size_t dot = type.rfind('.');
  return dot == std::string::npos ? type : type.substr(dot + 1);
}

std::optional<QString> faultOfName(const Document& document, const Scope& scope,
                                   const std::string& name) {
  static const QRegularExpression allowed(
      QRegularExpression::anchoredPattern("[A-Za-z_][A-Za-z0-9_-]*"));
  if (!allowed.match(QString::fromStdString(name)).hasMatch()) {
    return QStringLiteral("a name has letters, digits, _ and -, and starts with a letter");
  }
  if (isBoundary(name) || findNode(document, scope, name)) {
    return QStringLiteral("\"%1\" is taken").arg(QString::fromStdString(name));
  }
  return std::nullopt;
}

std::string addNode(Document& document, const Scope& scope, const std::string& type, QPointF at) {
  GraphNode node;
  node.name = freeName(document, scope, nameForType(type));
  node.type = type;
  const std::string name = node.name;
  nodesOf(document, scope).push_back(std::move(node));
  setPosition(document, scope, name, at);
  return name;
}

void removeNodes(Document& document, const Scope& scope, const std::vector<std::string>& names,
                 bool heal, const Catalogue& catalogue) {
  for (const std::string& name : names) {
    const GraphNode* node = findNode(std::as_const(document), scope, name);
    if (!node) continue;
    if (heal) healAround(document, scope, GraphNode(*node), catalogue);
  }
  const std::set<std::string> gone(names.begin(), names.end());
  auto& nodes = nodesOf(document, scope);
  std::erase_if(nodes, [&](const GraphNode& node) { return gone.contains(node.name); });
  for (GraphNode& node : nodes) {
    bool touched = false;
    for (InputEdges& input : node.inputs) {
      touched =
          std::erase_if(input.from,
                        [&](const Reference& from) { return gone.contains(from.node); }) > 0 ||
          touched;
    }
    if (touched) dropEmptyInputs(node);
  }
  if (Subgraph* subgraph = scope.empty() ? nullptr : document.subgraph(scope)) {
    std::erase_if(subgraph->outputs,
                  [&](const auto& output) { return gone.contains(output.second.node); });
  }
  std::vector<Frame> left = frames(document, scope);
  for (Frame& frame : left) {
    std::erase_if(frame.around, [&](const std::string& name) { return gone.contains(name); });
  }
  std::erase_if(left, [](const Frame& frame) { return frame.around.empty(); });
  if (left != frames(document, scope)) setFrames(document, scope, left);
  for (const std::string& name : names) {
    forgetPosition(document, scope, name);
    setCollapsed(document, scope, name, false);
    if (scope.empty()) document.placement.erase(name);
  }
}

void renameNode(Document& document, const Scope& scope, const std::string& from,
                const std::string& to) {
  GraphNode* node = findNode(document, scope, from);
  if (!node || from == to) return;
  node->name = to;
  forEachReference(document, scope, [&](Reference& reference) {
    if (reference.node == from) reference.node = to;
  });
  renamePosition(document, scope, from, to);
  if (scope.empty()) movePlacement(document.placement, from, to);
}

void connectPorts(Document& document, const Scope& scope, const Wire& given,
                  const Catalogue& catalogue) {
  Wire wire = given;
  if (wire.from == Reference{kInputsNode, kNewPort}) {
    wire.from.port = newInput(document, scope, wire, catalogue);
  }
  if (wire.node == kOutputsNode) return connectOutput(document, scope, wire);
  GraphNode* node = findNode(document, scope, wire.node);
  if (!node) return;
  const bool variadic = isVariadic(document, scope, *node, wire.port, catalogue);
  InputEdges* input = inputOf(*node, wire.port);
  if (!input) {
    node->inputs.push_back({wire.port, {wire.from}, variadic});
    return;
  }
  if (!variadic) {
    input->from = {wire.from};
    input->list = false;
    return;
  }
  const bool there =
      std::find(input->from.begin(), input->from.end(), wire.from) != input->from.end();
  if (!there) input->from.push_back(wire.from);
  input->list = true;
}

void disconnectPorts(Document& document, const Scope& scope, const Wire& wire) {
  if (wire.node == kOutputsNode) {
    Subgraph* subgraph = document.subgraph(scope);
    if (subgraph) std::erase(subgraph->outputs, std::pair(wire.port, wire.from));
    return;
  }
  GraphNode* node = findNode(document, scope, wire.node);
  InputEdges* input = node ? inputOf(*node, wire.port) : nullptr;
  if (!input) return;
  std::erase(input->from, wire.from);
  dropEmptyInputs(*node);
}

void moveWires(Document& document, const Scope& scope, const Reference& from, const Reference& to) {
  forEachReference(document, scope, [&](Reference& reference) {
    if (reference == from) reference = to;
  });
}

void setParameter(Document& document, const Scope& scope, const std::string& node,
                  const std::string& parameter, const Json& value) {
  if (GraphNode* found = findNode(document, scope, node)) found->params[parameter] = value;
}

void resetParameter(Document& document, const Scope& scope, const std::string& node,
                    const std::string& parameter) {
  if (GraphNode* found = findNode(document, scope, node)) found->params.erase(parameter);
}

std::string makeGraphParameter(Document& document, const Scope& scope, const std::string& node,
                               const std::string& parameter, const Json& value) {
  Json* parameters = &document.parameters;
  if (!scope.empty()) {
    Subgraph* subgraph = document.subgraph(scope);
    if (!subgraph) return {};
    parameters = &subgraph->parameters;
  }
  std::string name = parameter;
  for (int i = 2; parameters->contains(name); ++i) name = fmt::format("{}_{}", parameter, i);
  (*parameters)[name] = value;
  setParameter(document, scope, node, parameter, "$" + name);
  return name;
}

std::vector<std::string> duplicateNodes(Document& document, const Scope& scope,
                                        const std::vector<std::string>& names, QPointF shift,
                                        bool keepInputs) {
  std::map<std::string, std::string> renamed;
  std::vector<std::string> made;
  for (const std::string& name : names) {
    const GraphNode* original = findNode(std::as_const(document), scope, name);
    if (!original) continue;
    GraphNode copy = *original;
    copy.name = freeName(document, scope, name);
    renamed[name] = copy.name;
    made.push_back(copy.name);
    const QPointF at = position(document, scope, name).value_or(QPointF()) + shift;
    setPosition(document, scope, copy.name, at);
    nodesOf(document, scope).push_back(std::move(copy));
  }
  for (const std::string& name : made) {
    GraphNode* node = findNode(document, scope, name);
    for (InputEdges& input : node->inputs) {
      std::erase_if(input.from, [&](const Reference& from) {
        return !keepInputs && !renamed.contains(from.node);
      });
      for (Reference& from : input.from) {
        if (const auto it = renamed.find(from.node); it != renamed.end()) from.node = it->second;
      }
    }
    dropEmptyInputs(*node);
  }
  return made;
}

QString copyText(const Document& document, const Scope& scope,
                 const std::vector<std::string>& names) {
  Document part = Document::parse(copyJson(document, scope, names).dump());
  return QString::fromStdString(part.canonical_text());
}

PasteResult pasteText(Document& document, const Scope& scope, const QString& text, QPointF at) {
  Document part;
  try {
    part = Document::parse(text.toStdString());
  } catch (const Failure& failure) {
    throw Failure("paste-no-graph",
                  fmt::format("this is no graph or part of one: {}", failure.problem().text),
                  "copy nodes in the editor, or a whole graph file's text");
  }
  PasteResult result;
  const QPointF corner = cornerOf(part);
  std::map<std::string, std::string> renamed;
  for (const Subgraph& subgraph : part.subgraphs) {
    const Subgraph* own = document.subgraph(subgraph.name);
    if (own && *own == subgraph) continue;
    if (own) {
      result.remarks.push_back(
          QStringLiteral("subgraph %1 exists with other content: the graph's own is used")
              .arg(QString::fromStdString(subgraph.name)));
      continue;
    }
    document.subgraphs.push_back(subgraph);
  }
  for (const GraphNode& node : part.nodes) {
    GraphNode copy = node;
    copy.name = freeName(document, scope, node.name);
    renamed[node.name] = copy.name;
    result.names.push_back(copy.name);
    const QPointF offset = position(part, {}, node.name).value_or(corner) - corner;
    setPosition(document, scope, copy.name, at + offset);
    nodesOf(document, scope).push_back(std::move(copy));
  }
  for (const std::string& name : result.names) {
    GraphNode* node = findNode(document, scope, name);
    for (InputEdges& input : node->inputs) {
      for (Reference& from : input.from) {
        const auto it = renamed.find(from.node);
        if (it != renamed.end()) from.node = it->second;
      }
      std::erase_if(input.from, [&](const Reference& from) {
        if (findNode(std::as_const(document), scope, from.node)) return false;
        result.remarks.push_back(QStringLiteral("%1.%2: there is no %3 here")
                                     .arg(QString::fromStdString(name),
                                          QString::fromStdString(input.port),
                                          QString::fromStdString(from.text())));
        return true;
      });
    }
    dropEmptyInputs(*node);
  }
  return result;
}

std::string makeSubgraph(Document& document, const Scope& scope,
                         const std::vector<std::string>& names, const std::string& title,
                         const Catalogue& catalogue) {
  const std::set<std::string> inside(names.begin(), names.end());
  if (const std::string way = wayOutAndBack(document, scope, inside); !way.empty()) {
    throw Failure(
        "subgraph-cycle",
        fmt::format("these nodes cannot be one: a wire leaves them and comes back ({})", way),
        "select the nodes on that way too, or leave one end out");
  }
  Subgraph subgraph;
  subgraph.name = freeSubgraphName(document, title);
  GraphNode call;
  call.type = "subgraph." + subgraph.name;
  call.name = freeName(document, scope, subgraph.name);
  std::map<std::string, std::string> inputFor;   // outside source -> the subgraph's input
  std::map<std::string, std::string> outputFor;  // inside source -> the subgraph's output
  QPointF corner(0, 0);
  if (!names.empty()) corner = position(document, scope, names[0]).value_or(QPointF());
  for (const GraphNode& node : nodesOf(document, scope)) {
    if (!inside.contains(node.name)) continue;
    GraphNode moved = node;
    for (InputEdges& input : moved.inputs) {
      for (Reference& from : input.from) {
        if (inside.contains(from.node)) continue;
        const std::string source = from.text();
        if (!inputFor.contains(source)) {
          const std::string port = freePort(subgraph.inputs, from.port);
          inputFor[source] = port;
          subgraph.inputs.emplace_back(port, typeOfOutput(document, scope, from, catalogue));
          call.inputs.push_back({port, {from}, false});
        }
        from = {"inputs", inputFor[source]};
      }
    }
    subgraph.nodes.push_back(std::move(moved));
  }
  promoteParameters(document, scope, subgraph, call);
  const Document before = document;
  std::vector<GraphNode>& nodes = nodesOf(document, scope);
  std::erase_if(nodes, [&](const GraphNode& node) { return inside.contains(node.name); });
  const std::string callName = call.name;
  nodes.push_back(std::move(call));
  forEachReference(document, scope, [&](Reference& reference) {
    if (!inside.contains(reference.node)) return;
    const std::string source = reference.text();
    if (!outputFor.contains(source)) {
      outputFor[source] = freePort(subgraph.outputs, reference.port);
      subgraph.outputs.emplace_back(outputFor[source], reference);
    }
    reference = {callName, outputFor[source]};
  });
  document.subgraphs.push_back(subgraph);
  std::vector<Frame> outer, inner;
  for (const Frame& frame : frames(before, scope)) {
    Frame left = frame;
    std::erase_if(left.around, [&](const std::string& name) { return inside.contains(name); });
    (left.around.empty() ? inner : outer).push_back(left.around.empty() ? frame : left);
  }
  if (outer != frames(before, scope)) setFrames(document, scope, outer);
  if (!inner.empty()) setFrames(document, subgraph.name, inner);
  moveDots(document, scope, inside, subgraph.name, corner);
  for (const std::string& name : names) {
    if (const auto at = position(before, scope, name)) {
      setPosition(document, subgraph.name, name, *at - corner);
    }
    forgetPosition(document, scope, name);
    if (scope.empty()) movePlacement(document.placement, name, callName + "/" + name);
  }
  setPosition(document, scope, callName, corner);
  return callName;
}

}  // namespace rewardloom
