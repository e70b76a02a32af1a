#include "engine/graph/dot.h"

#include <fmt/format.h>

#include <set>

#include "engine/graph/flat.h"

namespace rewardloom {
namespace {

std::string escaped(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

class Drawing {
 public:
  explicit Drawing(const FlatGraph& graph) : graph_(graph) {}

  std::string text() {
    const std::string& name = graph_.document->name;
    out_ = fmt::format("digraph {} {{\n", escaped(name.empty() ? std::string_view("graph") : name));
    out_ +=
        "  rankdir=LR;\n"
        "  graph [fontname=\"Helvetica\", fontsize=11, color=\"#9aa0a6\"];\n"
        "  node [shape=box, style=\"rounded,filled\", fillcolor=\"#eef3fb\", color=\"#5f6368\", "
        "fontname=\"Helvetica\", fontsize=11];\n"
        "  edge [fontname=\"Helvetica\", fontsize=9, color=\"#5f6368\"];\n";
    for (std::size_t i = 0; i < graph_.instances.size(); ++i) {
      const FlatInstance& instance = graph_.instances[i];
      if (instance.parent >= 0) continue;
      if (instance.subgraph == nullptr) {
        draw_members(instance, 1);
      } else {
        draw_cluster(instance, "subgraph." + instance.subgraph->name, 1);
      }
    }
    for (const FlatNode& node : graph_.nodes) draw_edges(node);
    return out_ + "}\n";
  }

 private:
  void line(int depth, const std::string& text) {
    out_ += fmt::format("{:{}}{}\n", "", 2 * depth, text);
  }

  void draw_members(const FlatInstance& instance, int depth) {
    for (std::size_t i = 0; i < instance.members.size(); ++i) {
      const FlatInstance::Member& member = instance.members[i];
      if (member.child >= 0) {
        const FlatInstance& child = graph_.instances[at(member.child)];
        draw_cluster(child, fmt::format("{}\n{}", child.parent_node->name, child.parent_node->type),
                     depth);
      } else if (member.flat >= 0) {
        draw_node(graph_.nodes[at(member.flat)], depth);
      }
    }
  }

  void draw_cluster(const FlatInstance& instance, const std::string& label, int depth) {
    line(depth, fmt::format("subgraph {} {{", escaped("cluster_" + instance.prefix)));
    line(depth + 1, fmt::format("label={};", escaped(label)));
    draw_members(instance, depth + 1);
    line(depth, "}");
  }

  void draw_node(const FlatNode& node, int depth) {
    // The copies of a body that is varied have the same names: one of them is drawn.
    if (!drawn_.insert(node.name).second) return;
    const std::string_view border = node.type == nullptr ? ", style=\"rounded,dotted\"" : "";
    const std::string_view fill = node.gold ? ", fillcolor=\"#fff4c2\"" : "";
    const std::string label = fmt::format("{}\n{}", node.graph->name, node.graph->type);
    line(depth,
         fmt::format("{} [label={}{}{}];", escaped(node.name), escaped(label), border, fill));
    for (const int level : node.bodies) {
      const FlatInstance& body = graph_.instances[at(graph_.levels[at(level)].instance)];
      if (!drawn_.insert(body.prefix).second) continue;
      draw_cluster(body, fmt::format("{}: {}", node.graph->name, body.subgraph->name), depth);
    }
  }

  void draw_edges(const FlatNode& node) {
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      // What a container only hands on to its bodies is drawn where it arrives.
      if (node.type == nullptr || p >= node.type->inputs.size()) continue;
      for (const FlatEdge& edge : node.edges[p]) draw_edge(node, edge.slot);
    }
  }

  void draw_edge(const FlatNode& to, int slot) {
    if (slot < 0) return;
    const FlatSlot& source = graph_.slots[at(slot)];
    if (!source.aliases.empty()) {
      for (const int alias : source.aliases) draw_edge(to, alias);
      return;
    }
    if (source.node < 0) return;
    const PortDeclaration& port = *source.declaration;
    const std::string text =
        fmt::format("{} -> {} [label={}{}];", escaped(graph_.nodes[at(source.node)].name),
                    escaped(to.name), escaped(type_text(*graph_.catalogue, port.type, port.dims)),
                    std::string_view(graph_.is_handle(slot) ? ", style=dashed" : ""));
    if (edges_.insert(text).second) line(1, text);
  }

  const FlatGraph& graph_;
  std::string out_;
  std::set<std::string> drawn_;
  std::set<std::string> edges_;
};

}  // namespace

std::string dot_text(const Document& document, const Catalogue& catalogue) {
  ProblemList ignored;
  return Drawing(flatten(document, catalogue, {.files = false}, ignored)).text();
}

}  // namespace rewardloom
