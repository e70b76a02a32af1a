#include "editor/document/subgraph_edits.h"

#include <fmt/format.h>

#include <QRegularExpression>
#include <algorithm>

#include "editor/document/graph_layout.h"
#include "engine/core/node_paths.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

/// Calls `visit` with every text of a body parameter's value that names a subgraph.
void forEachBodyName(Json& value, const std::function<void(Json&)>& visit) {
  const auto one = [&](Json& item) {
    if (item.is_string()) visit(item);
    const bool object = item.is_object() && item.contains("body") && item["body"].is_string();
    if (object) visit(item["body"]);
  };
  if (value.is_array()) {
    for (Json& item : value) one(item);
  } else {
    one(value);
  }
}

Json bodyValue(const GraphNode& node, const NodeDeclaration& type, const std::string& parameter) {
  const auto given = node.params.find(parameter);
  if (given != node.params.end()) return *given;
  const ParameterDeclaration* declared = type.param(parameter);
  return declared ? declared->default_value : Json();
}

/// Calls `visit` for every list of nodes: the graph's and each subgraph's.
void forEachScope(Document& document,
                  const std::function<void(const Scope&, std::vector<GraphNode>&)>& visit) {
  visit({}, document.nodes);
  for (Subgraph& subgraph : document.subgraphs) visit(subgraph.name, subgraph.nodes);
}

bool runs(const GraphNode& node, const std::string& subgraph, const Catalogue& catalogue) {
  const auto names = bodiesOf(node, catalogue);
  return std::find(names.begin(), names.end(), subgraph) != names.end();
}

void eachReference(std::vector<GraphNode>& nodes, const std::function<void(Reference&)>& visit) {
  for (GraphNode& node : nodes) {
    for (InputEdges& input : node.inputs) {
      for (Reference& from : input.from) visit(from);
    }
  }
}

/// Calls `visit` for what reads the output of a node of `scope`.
void eachReader(Document& document, const Scope& scope, const Reference& output,
                const std::function<void(Reference&)>& visit) {
  const auto look = [&](Reference& from) {
    if (from == output) visit(from);
  };
  eachReference(nodesOf(document, scope), look);
  if (Subgraph* around = scope.empty() ? nullptr : document.subgraph(scope)) {
    for (auto& [name, from] : around->outputs) look(from);
  }
}

}  // namespace

ShownPorts boundaryPorts(const Document& document, const Scope& scope, std::string_view node,
                         const Catalogue& catalogue) {
  ShownPorts ports;
  const Subgraph* subgraph = document.subgraph(scope);
  if (!subgraph) return ports;
  GraphNode instance;
  instance.type = "subgraph." + scope;
  const ShownPorts outside = portsOf(document, {}, instance, catalogue);
  const bool inputs = node == kInputsNode;
  std::vector<ShownPort>& shown = inputs ? ports.outputs : ports.inputs;
  const std::vector<ShownPort>& own = inputs ? outside.inputs : outside.outputs;
  const std::size_t count = inputs ? subgraph->inputs.size() : subgraph->outputs.size();
  for (std::size_t i = 0; i < std::min(count, own.size()); ++i) {
    shown.push_back(own[i]);
    shown.back().optional = true;
  }
  ShownPort fresh;
  fresh.name = kNewPort;
  fresh.doc = inputs ? "pull a wire from here to an input: it becomes an input of the subgraph"
                     : "pull a wire from an output to here: it becomes an output of the subgraph";
  fresh.optional = true;
  shown.push_back(std::move(fresh));
  return ports;
}

std::string freeSubgraphName(const Document& document, const std::string& base) {
  std::string name = base;
  for (int i = 2; document.subgraph(name); ++i) name = fmt::format("{}_{}", base, i);
  return name;
}

std::optional<QString> faultOfSubgraphName(const Document& document, const std::string& name) {
  static const QRegularExpression allowed(
      QRegularExpression::anchoredPattern("[A-Za-z_][A-Za-z0-9_-]*"));
  if (!allowed.match(QString::fromStdString(name)).hasMatch()) {
    return QStringLiteral("a name has letters, digits, _ and -, and starts with a letter");
  }
  if (document.subgraph(name)) {
    return QStringLiteral("there is a subgraph \"%1\" already").arg(QString::fromStdString(name));
  }
  return std::nullopt;
}

std::string addSubgraph(Document& document, const std::string& base) {
  Subgraph subgraph;
  subgraph.name = freeSubgraphName(document, base);
  document.subgraphs.push_back(subgraph);
  return subgraph.name;
}

void renameSubgraph(Document& document, const std::string& from, const std::string& to,
                    const Catalogue& catalogue) {
  Subgraph* subgraph = document.subgraph(from);
  if (!subgraph || from == to) return;
  subgraph->name = to;
  forEachScope(document, [&](const Scope&, std::vector<GraphNode>& nodes) {
    for (GraphNode& node : nodes) {
      if (node.subgraph() == from) node.type = "subgraph." + to;
      const NodeDeclaration* type = catalogue.node(node.type);
      if (!type) continue;
      for (const BodyDeclaration& body : type->bodies) {
        const auto value = node.params.find(body.parameter);
        if (value == node.params.end()) continue;
        forEachBodyName(*value, [&](Json& name) {
          if (name == from) name = to;
        });
      }
    }
  });
  renameScope(document, from, to);
}

void renameSubgraphPort(Document& document, const Scope& scope, bool output,
                        const std::string& from, const std::string& to,
                        const Catalogue& catalogue) {
  Subgraph* subgraph = document.subgraph(scope);
  if (!subgraph || from == to || to.empty() || to == kNewPort) return;
  const auto renameIn = [&](auto& list) {
    const auto named = [&](const std::string& name) {
      return std::find_if(list.begin(), list.end(),
                          [&](const auto& item) { return item.first == name; });
    };
    const auto own = named(from);
    if (own == list.end() || named(to) != list.end()) return false;
    own->first = to;
    return true;
  };
  if (!(output ? renameIn(subgraph->outputs) : renameIn(subgraph->inputs))) return;
  if (!output) {
    eachReader(document, scope, {kInputsNode, from}, [&](Reference& r) { r.port = to; });
  }
  forEachScope(document, [&](const Scope& around, std::vector<GraphNode>& nodes) {
    for (GraphNode& node : nodes) {
      if (!runs(node, scope, catalogue)) continue;
      if (output) {
        eachReader(document, around, {node.name, from}, [&](Reference& r) { r.port = to; });
        continue;
      }
      for (InputEdges& input : node.inputs) {
        if (input.port == from) input.port = to;
      }
    }
  });
}

void removeSubgraphPort(Document& document, const Scope& scope, bool output,
                        const std::string& name, const Catalogue& catalogue) {
  Subgraph* subgraph = document.subgraph(scope);
  if (!subgraph) return;
  const auto same = [&](const auto& item) { return item.first == name; };
  const auto dropReaders = [&](const Scope& around, const Reference& gone) {
    for (GraphNode& node : nodesOf(document, around)) {
      for (InputEdges& input : node.inputs) std::erase(input.from, gone);
      std::erase_if(node.inputs, [](const InputEdges& input) { return input.from.empty(); });
    }
    if (Subgraph* outer = around.empty() ? nullptr : document.subgraph(around)) {
      std::erase_if(outer->outputs, [&](const auto& item) { return item.second == gone; });
    }
  };
  if (output) {
    std::erase_if(subgraph->outputs, same);
  } else {
    std::erase_if(subgraph->inputs, same);
    dropReaders(scope, {kInputsNode, name});
  }
  forEachScope(document, [&](const Scope& around, std::vector<GraphNode>& nodes) {
    for (GraphNode& node : nodes) {
      if (!runs(node, scope, catalogue)) continue;
      if (output) {
        dropReaders(around, {node.name, name});
      } else {
        std::erase_if(node.inputs, [&](const InputEdges& input) { return input.port == name; });
      }
    }
  });
}

std::vector<std::string> bodiesOf(const GraphNode& node, const Catalogue& catalogue) {
  if (const auto name = node.subgraph()) return {std::string(*name)};
  const NodeDeclaration* type = catalogue.node(node.type);
  std::vector<std::string> names;
  if (!type) return names;
  for (const BodyDeclaration& body : type->bodies) {
    Json value = bodyValue(node, *type, body.parameter);
    forEachBodyName(value, [&](Json& item) {
      const std::string name = item;
      if (!name.empty() && std::find(names.begin(), names.end(), name) == names.end()) {
        names.push_back(name);
      }
    });
  }
  return names;
}

std::string makeBody(Document& document, const Scope& scope, const std::string& node,
                     const Catalogue& catalogue) {
  GraphNode* container = findNode(document, scope, node);
  const NodeDeclaration* type = container ? catalogue.node(container->type) : nullptr;
  if (!type || type->bodies.empty()) {
    throw Failure("no-container", fmt::format("{} is no container", node));
  }
  for (const std::string& named : bodiesOf(*container, catalogue)) {
    if (!document.subgraph(named)) return addSubgraph(document, named);
  }
  const std::string made = freeSubgraphName(document, node + "_body");
  const BodyDeclaration& body = type->bodies.front();
  const ParameterDeclaration* parameter = type->param(body.parameter);
  Json value = made;
  if (parameter && parameter->kind == ParameterKind::list) {
    value = Json::array({Json{{"body", made}}});
  }
  container->params[body.parameter] = value;
  return addSubgraph(document, made);
}

namespace {

/// What the nodes of a body are named after, behind the name of the node that runs it.
std::string bodyPrefix(const GraphNode& node, const std::string& body, const Catalogue& catalogue) {
  return bodiesOf(node, catalogue).size() > 1 ? node.name + "/" + body + "/" : node.name + "/";
}

std::optional<std::string> prefixFrom(const Document& document, const Scope& here,
                                      const Scope& wanted, const Catalogue& catalogue, int depth) {
  constexpr int kDeepest = 32;  // a recursive subgraph is the checker's business
  if (here == wanted) return std::string();
  if (depth > kDeepest) return std::nullopt;
  for (const GraphNode& node : nodesOf(document, here)) {
    for (const std::string& body : bodiesOf(node, catalogue)) {
      if (!document.subgraph(body)) continue;
      const auto rest = prefixFrom(document, body, wanted, catalogue, depth + 1);
      if (rest) return bodyPrefix(node, body, catalogue) + *rest;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Located> locate(const Document& document, const std::string& path,
                              const Catalogue& catalogue) {
  Located at;
  std::string rest = without_branches(path);
  const auto next = [&rest] {
    const std::size_t slash = rest.find('/');
    const std::string first = rest.substr(0, slash);
    rest = slash == std::string::npos ? std::string() : rest.substr(slash + 1);
    return first;
  };
  if (rest.starts_with("subgraph.")) at.scope = next().substr(std::string_view("subgraph.").size());
  while (true) {
    const std::string name = next();
    const GraphNode* node = findNode(document, at.scope, name);
    if (!node) return std::nullopt;
    if (rest.empty()) {
      at.node = name;
      return at;
    }
    const auto bodies = bodiesOf(*node, catalogue);
    if (bodies.empty()) return std::nullopt;
    at.scope = bodies.size() == 1 ? bodies.front() : next();
  }
}

std::string pathPrefix(const Document& document, const Scope& scope, const Catalogue& catalogue) {
  if (scope.empty()) return {};
  return prefixFrom(document, {}, scope, catalogue, 0).value_or("subgraph." + scope + "/");
}

Scope scopeAround(const Document& document, const Scope& scope, const Catalogue& catalogue) {
  for (const GraphNode& node : document.nodes) {
    if (runs(node, scope, catalogue)) return {};
  }
  for (const Subgraph& subgraph : document.subgraphs) {
    for (const GraphNode& node : subgraph.nodes) {
      if (subgraph.name != scope && runs(node, scope, catalogue)) return subgraph.name;
    }
  }
  return {};
}

}  // namespace rewardloom
