// Subgraphs as hands shape them: their ports on the boundary, their names, the bodies of
// containers. Plain functions on a document, like those of graph_edits.h.
#pragma once
#include "editor/document/graph_edits.h"

namespace rewardloom {

// Inside a subgraph its own ports stand on the canvas as two nodes that the file does not list.
inline constexpr const char* kInputsNode = "inputs";
inline constexpr const char* kOutputsNode = "outputs";
/// The port of those two that makes a new one of whatever is wired to it.
inline constexpr const char* kNewPort = "+";

inline bool isBoundary(std::string_view node) {
  return node == kInputsNode || node == kOutputsNode;
}

/// Ports of "inputs" (they give) or "outputs" (they take), the new one last.
ShownPorts boundaryPorts(const Document& document, const Scope& scope, std::string_view node,
                         const Catalogue& catalogue);

/// The first of `base`, `base_2`, ... that no subgraph has.
std::string freeSubgraphName(const Document& document, const std::string& base);
/// Why a subgraph cannot be called so, or nothing.
std::optional<QString> faultOfSubgraphName(const Document& document, const std::string& name);
/// An empty subgraph under a free name, which is returned.
std::string addSubgraph(Document& document, const std::string& base);
/// Instances, containers and places follow. The new name must be free.
void renameSubgraph(Document& document, const std::string& from, const std::string& to,
                    const Catalogue& catalogue);

/// A port of the subgraph `scope`, input or output; wires inside and at its instances and
/// containers follow. Does nothing where `to` is taken.
void renameSubgraphPort(Document& document, const Scope& scope, bool output,
                        const std::string& from, const std::string& to, const Catalogue& catalogue);
/// Its wires go with it.
void removeSubgraphPort(Document& document, const Scope& scope, bool output,
                        const std::string& name, const Catalogue& catalogue);

/// The subgraphs that a node runs: its own, or those that a container's parameters name, in their
/// order, each once; they need not exist.
std::vector<std::string> bodiesOf(const GraphNode& node, const Catalogue& catalogue);
/// Gives a container without an existing body an empty one, and returns its name; the name that
/// its parameter holds is taken, else one after the node.
std::string makeBody(Document& document, const Scope& scope, const std::string& node,
                     const Catalogue& catalogue);

/// A node as problems and runs name it: by the nodes that lead to it.
struct Located {
  Scope scope;
  std::string node;
};
/// "held_out/grade": grade in the body of held_out; "phases/train/clip": clip in the body train of
/// a container with several; "subgraph.exam/grade": in a subgraph that nothing uses. Branches
/// ("sweep[seed=1]") do not count.
std::optional<Located> locate(const Document& document, const std::string& path,
                              const Catalogue& catalogue);
/// The other way round: what stands before the names of a scope's nodes, "held_out/", at its first
/// use; empty for the graph itself.
std::string pathPrefix(const Document& document, const Scope& scope, const Catalogue& catalogue);
/// Where a subgraph is used first, or the graph.
Scope scopeAround(const Document& document, const Scope& scope, const Catalogue& catalogue);

}  // namespace rewardloom
