// What hands do to a graph, as plain functions on a document: no undo, no window, no LibTorch.
#pragma once
#include <QPointF>
#include <QString>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/graph/document.h"

namespace rewardloom {

/// Where an edit happens: the graph itself (empty) or one of its subgraphs, by name.
using Scope = std::string;

/// A wire: from an output (or a subgraph's own input, node "inputs") to an input port.
struct Wire {
  Reference from;
  std::string node;
  std::string port;
  bool operator==(const Wire&) const = default;
  auto operator<=>(const Wire& other) const {
    return std::tie(from.node, from.port, node, port) <=>
           std::tie(other.from.node, other.from.port, other.node, other.port);
  }
};

/// A port as the editor shows it, whatever the node is: type of the catalogue, subgraph, container
/// or unknown.
struct ShownPort {
  std::string name;
  std::string type;  ///< empty where it is not known
  std::string doc;
  std::string dims;
  Access access = Access::value;
  bool optional = false;
  bool variadic = false;
};

struct ShownPorts {
  std::vector<ShownPort> inputs;
  std::vector<ShownPort> outputs;
  bool known = true;  ///< false: no such node type; the ports are those that wires use
};

const std::vector<GraphNode>& nodesOf(const Document& document, const Scope& scope);
std::vector<GraphNode>& nodesOf(Document& document, const Scope& scope);
const GraphNode* findNode(const Document& document, const Scope& scope, std::string_view name);
GraphNode* findNode(Document& document, const Scope& scope, std::string_view name);

/// Ports of a node: those of its declaration, of its subgraph, and of a container's bodies.
ShownPorts portsOf(const Document& document, const Scope& scope, const GraphNode& node,
                   const Catalogue& catalogue);
/// Every wire that ends in a node of the scope, in the order of the file.
std::vector<Wire> wiresOf(const Document& document, const Scope& scope);

/// `base`, or `base_2`, ... : the first that no node of the scope has; never "inputs".
std::string freeName(const Document& document, const Scope& scope, const std::string& base);
/// "advantage.group" -> "group", "subgraph.rollout" -> "rollout".
std::string nameForType(const std::string& type);
/// Why a node cannot be called so, or nothing.
std::optional<QString> faultOfName(const Document& document, const Scope& scope,
                                   const std::string& name);

/// Adds a node of this type under a free name, which is returned.
std::string addNode(Document& document, const Scope& scope, const std::string& type, QPointF at);
/// With `heal`, a reader of a removed node is wired to what fed the removed node's first input of
/// the same type.
void removeNodes(Document& document, const Scope& scope, const std::vector<std::string>& names,
                 bool heal, const Catalogue& catalogue);
/// References, placement, layout and frames follow. The new name must be free.
void renameNode(Document& document, const Scope& scope, const std::string& from,
                const std::string& to);
/// Replaces the wire of a single input, or adds one to a variadic input.
void connectPorts(Document& document, const Scope& scope, const Wire& wire,
                  const Catalogue& catalogue);
void disconnectPorts(Document& document, const Scope& scope, const Wire& wire);
/// All wires of one output move to another output.
void moveWires(Document& document, const Scope& scope, const Reference& from, const Reference& to);

void setParameter(Document& document, const Scope& scope, const std::string& node,
                  const std::string& parameter, const Json& value);
/// Back to the default: the file no longer mentions it.
void resetParameter(Document& document, const Scope& scope, const std::string& node,
                    const std::string& parameter);
/// The node's parameter becomes "$name" with the value it had; returns the name that was free.
std::string makeGraphParameter(Document& document, const Scope& scope, const std::string& node,
                               const std::string& parameter, const Json& value);

/// Copies of nodes with the wires among them, and, with `keepInputs`, those from outside.
std::vector<std::string> duplicateNodes(Document& document, const Scope& scope,
                                        const std::vector<std::string>& names, QPointF shift,
                                        bool keepInputs);
/// The chosen nodes become a subgraph of that name (made free) and one node instead of them.
/// Returns the new node's name. Throws Failure `subgraph-cycle` if a wire would leave and come
/// back.
std::string makeSubgraph(Document& document, const Scope& scope,
                         const std::vector<std::string>& names, const std::string& title,
                         const Catalogue& catalogue);

/// JSON text of nodes, their wires and places, for the clipboard, a chat or a file.
QString copyText(const Document& document, const Scope& scope,
                 const std::vector<std::string>& names);
struct PasteResult {
  std::vector<std::string> names;  ///< the new nodes
  std::vector<QString> remarks;    ///< what could not be placed or wired, in words
};
/// Puts such text (or a whole graph's) into the document, its corner at `at`. Throws Failure
/// `paste-no-graph` for anything else.
PasteResult pasteText(Document& document, const Scope& scope, const QString& text, QPointF at);

}  // namespace rewardloom
