#include "engine/graph/active_nodes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

constexpr int kDeepest = 32;  // subgraphs within subgraphs; recursion is the checker's business

bool has_mode(const GraphNode& node) { return node.mode != NodeMode::normal; }

/// The subgraphs that a node runs: its own, or those that a container's parameters name.
std::vector<std::string> bodies_of(const GraphNode& node, const Catalogue& catalogue) {
  if (const auto own = node.subgraph()) return {std::string(*own)};
  std::vector<std::string> names;
  const NodeDeclaration* const type = catalogue.node(node.type);
  if (type == nullptr) return names;
  const auto add = [&](const Json& item) {
    const bool object = item.is_object() && item.contains("body") && item["body"].is_string();
    if (object) names.push_back(item["body"].get<std::string>());
    if (item.is_string() && item != "") names.push_back(item.get<std::string>());
  };
  for (const BodyDeclaration& body : type->bodies) {
    const Json& value = effective_parameter(*type, node.params, body.parameter);
    add(value);
    if (value.is_array()) std::for_each(value.begin(), value.end(), add);
  }
  return names;
}

struct Port {
  std::string name;
  std::string type;
  bool optional = false;
  bool variadic = false;
  std::size_t at_least = 1;
};

class ActivePart {
 public:
  ActivePart(const Document& document, const Catalogue& catalogue, std::vector<Problem>& problems)
      : original_(document), document_(document), catalogue_(catalogue), problems_(problems) {}

  Document make() {
    for_each_level(
        [this](Subgraph* level, std::vector<GraphNode>& nodes) { bypass(level, nodes); });
    // A subgraph that loses an output takes it from its users, so until nothing changes any more.
    bool changed = true;
    while (changed) {
      changed = false;
      for_each_level([&](Subgraph* level, std::vector<GraphNode>& nodes) {
        changed = mute(level, nodes) || changed;
      });
    }
    drop_unused();
    return std::move(document_);
  }

 private:
  using Level = std::function<void(Subgraph*, std::vector<GraphNode>&)>;
  void for_each_level(const Level& visit) {
    visit(nullptr, document_.nodes);
    for (Subgraph& subgraph : document_.subgraphs) visit(&subgraph, subgraph.nodes);
  }

  void note(Severity severity, const char* code, const Subgraph* level, const GraphNode& node,
            const std::string& port, std::string text, std::string help) {
    const std::string prefix = level == nullptr ? "" : "subgraph." + level->name + "/";
    problems_.push_back({severity,
                         code,
                         {document_.file, prefix + node.name, port},
                         std::move(text),
                         std::move(help),
                         {}});
  }

  static void each_reference(Subgraph* level, std::vector<GraphNode>& nodes,
                             const std::function<void(Reference&)>& visit) {
    for (GraphNode& node : nodes) {
      for (InputEdges& input : node.inputs) {
        for (Reference& from : input.from) visit(from);
      }
    }
    if (level == nullptr) return;
    for (auto& [name, from] : level->outputs) visit(from);
  }

  // ---- types ----

  std::vector<Port> inputs_of(const GraphNode& node) const {
    std::vector<Port> ports;
    if (const NodeDeclaration* const type = catalogue_.node(node.type)) {
      for (const PortDeclaration& port : type->inputs) {
        ports.push_back({port.name, port.type, port.optional, port.variadic,
                         static_cast<std::size_t>(std::max(0, port.at_least))});
      }
    }
    for (const std::string& body : bodies_of(node, catalogue_)) {
      const Subgraph* const subgraph = original_.subgraph(body);
      if (subgraph == nullptr) continue;
      for (const auto& [name, type] : subgraph->inputs) ports.push_back({name, type});
    }
    return ports;
  }

  std::string output_type(const GraphNode& node, const std::string& output, int depth = 0) const {
    const NodeDeclaration* const type = catalogue_.node(node.type);
    const PortDeclaration* const port = type == nullptr ? nullptr : type->output(output);
    if (port != nullptr) return port->type;
    for (const std::string& body : bodies_of(node, catalogue_)) {
      const Subgraph* const subgraph = original_.subgraph(body);
      if (subgraph == nullptr || depth > kDeepest) continue;
      for (const auto& [name, from] : subgraph->outputs) {
        if (name == output) return reference_type(subgraph, from, depth + 1);
      }
    }
    return {};
  }

  std::string reference_type(const Subgraph* level, const Reference& from, int depth) const {
    if (level != nullptr && from.node == "inputs") {
      for (const auto& [name, type] : level->inputs) {
        if (name == from.port) return type;
      }
    }
    const auto& nodes = level == nullptr ? original_.nodes : level->nodes;
    for (const GraphNode& node : nodes) {
      if (node.name == from.node) return output_type(node, from.port, depth);
    }
    return {};
  }

  // ---- bypass ----

  void bypass(Subgraph* level, std::vector<GraphNode>& nodes) {
    for (GraphNode& node : nodes) {
      // One that cannot be passed is told of; the rest is checked as if it ran.
      if (node.mode == NodeMode::bypass && !join_around(level, nodes, node)) {
        node.mode = NodeMode::normal;
      }
    }
    remember(level, nodes, [](const GraphNode& node) { return node.mode == NodeMode::bypass; });
  }

  bool join_around(Subgraph* level, std::vector<GraphNode>& nodes, const GraphNode& gone) {
    std::set<std::string> failed;
    std::vector<std::string> passed;
    each_reference(level, nodes, [&](Reference& from) {
      if (from.node != gone.name || failed.contains(from.port)) return;
      const std::string type = output_type(gone, from.port);
      const InputEdges* const source = first_input(gone, type);
      if (source == nullptr) {
        failed.insert(from.port);
        note(Severity::error, "bypass-no-input", level, gone, from.port,
             fmt::format("cannot be bypassed: no wired input gives {}",
                         type.empty() ? "the type of this output" : type),
             "mute it, or take what reads this output from elsewhere");
        return;
      }
      const std::string text = fmt::format("{} for {}", source->from[0].text(), from.port);
      if (std::find(passed.begin(), passed.end(), text) == passed.end()) passed.push_back(text);
      from = source->from[0];
    });
    if (!failed.empty()) return false;
    note(Severity::note, "bypassed", level, gone, "",
         passed.empty() ? "is bypassed: it does not run"
                        : fmt::format("is bypassed: readers get {}", fmt::join(passed, ", ")),
         "");
    return true;
  }

  const InputEdges* first_input(const GraphNode& node, const std::string& type) const {
    if (type.empty()) return nullptr;
    for (const Port& port : inputs_of(node)) {
      const InputEdges* const edges = node.input(port.name);
      if (port.type == type && edges != nullptr && !edges->from.empty()) return edges;
    }
    return nullptr;
  }

  // ---- mute ----

  /// One round; says whether anything went.
  bool mute(Subgraph* level, std::vector<GraphNode>& nodes) {
    const std::set<std::string>& before = gone_[level == nullptr ? "" : level->name];
    const std::size_t count = before.size();
    for (GraphNode& node : nodes) {
      if (node.mode != NodeMode::mute) continue;
      note(Severity::note, "muted", level, node, "", "is muted: it does not run", "");
    }
    remember(level, nodes, [](const GraphNode& node) { return node.mode == NodeMode::mute; });
    bool lost = before.size() != count;
    std::set<std::string> cut;
    for (GraphNode& node : nodes) {
      const std::string missing = drop_edges(level, node);
      if (missing.empty() && !lost_bodies(node)) continue;
      cut.insert(node.name);
      note(Severity::note, "muted", level, node, "",
           missing.empty() ? "does not run: nothing is left inside it"
                           : fmt::format("does not run: it needs {}, which does not", missing),
           "");
    }
    remember(level, nodes, [&](const GraphNode& node) { return cut.contains(node.name); });
    lost = lost || !cut.empty();
    if (level == nullptr) return lost;
    const auto dead = [&](const auto& output) { return is_gone(level, output.second); };
    return std::erase_if(level->outputs, dead) > 0 || lost;
  }

  bool is_gone(const Subgraph* level, const Reference& from) const {
    const auto gone = gone_.find(level == nullptr ? "" : level->name);
    if (gone != gone_.end() && gone->second.contains(from.node)) return true;
    const auto& nodes = level == nullptr ? document_.nodes : level->nodes;
    for (const GraphNode& node : nodes) {
      if (node.name == from.node) return lost_output(node, from.port);
    }
    return false;
  }

  /// Whether a subgraph had this output and has lost it.
  bool lost_output(const GraphNode& node, const std::string& output) const {
    const auto has = [&](const Document& document) {
      for (const std::string& body : bodies_of(node, catalogue_)) {
        const Subgraph* const subgraph = document.subgraph(body);
        if (subgraph == nullptr) continue;
        for (const auto& [name, from] : subgraph->outputs) {
          if (name == output) return true;
        }
      }
      return false;
    };
    return has(original_) && !has(document_);
  }

  bool lost_bodies(const GraphNode& node) const {
    for (const std::string& body : bodies_of(node, catalogue_)) {
      const Subgraph* const now = document_.subgraph(body);
      const Subgraph* const was = original_.subgraph(body);
      if (now != nullptr && now->nodes.empty() && !was->nodes.empty()) return true;
    }
    return false;
  }

  /// Takes edges from what is gone; names one without which the node cannot run.
  std::string drop_edges(const Subgraph* level, GraphNode& node) {
    std::string missing, any_lost;
    const std::vector<Port> ports = inputs_of(node);
    for (InputEdges& input : node.inputs) {
      std::string lost;
      std::erase_if(input.from, [&](const Reference& from) {
        if (!is_gone(level, from)) return false;
        lost = from.text();
        return true;
      });
      if (lost.empty()) continue;
      any_lost = lost;
      const auto port = std::find_if(ports.begin(), ports.end(),
                                     [&](const Port& p) { return p.name == input.port; });
      const bool optional = port != ports.end() && port->optional;
      const std::size_t needed = port != ports.end() && port->variadic ? port->at_least : 1;
      if (!optional && input.from.size() < needed) missing = lost;
    }
    std::erase_if(node.inputs, [](const InputEdges& input) { return input.from.empty(); });
    // One that has lost all it read depends on that alone, optional or not.
    return missing.empty() && node.inputs.empty() ? any_lost : missing;
  }

  template <class Predicate>
  void remember(const Subgraph* level, std::vector<GraphNode>& nodes, const Predicate& which) {
    std::set<std::string>& gone = gone_[level == nullptr ? "" : level->name];
    for (const GraphNode& node : nodes) {
      if (which(node)) gone.insert(node.name);
    }
    std::erase_if(nodes, which);
  }

  // ---- what nothing uses any more ----

  void drop_unused() {
    const auto used_before = used_subgraphs(original_), used_now = used_subgraphs(document_);
    std::erase_if(document_.subgraphs, [&](const Subgraph& subgraph) {
      return used_before.contains(subgraph.name) && !used_now.contains(subgraph.name);
    });
    drop_parameters(document_.parameters, original_.nodes, document_.nodes);
    for (Subgraph& subgraph : document_.subgraphs) {
      const Subgraph* const was = original_.subgraph(subgraph.name);
      if (was != nullptr) drop_parameters(subgraph.parameters, was->nodes, subgraph.nodes);
    }
    std::vector<std::string> places;
    for (const auto& [path, value] : document_.placement.items()) {
      if (passes_gone(path)) places.push_back(path);
    }
    for (const std::string& path : places) document_.placement.erase(path);
  }

  std::set<std::string> used_subgraphs(const Document& document) const {
    std::set<std::string> used;
    std::vector<const std::vector<GraphNode>*> open = {&document.nodes};
    while (!open.empty()) {
      const std::vector<GraphNode>& nodes = *open.back();
      open.pop_back();
      for (const GraphNode& node : nodes) {
        for (const std::string& body : bodies_of(node, catalogue_)) {
          const Subgraph* const subgraph = document.subgraph(body);
          if (subgraph != nullptr && used.insert(body).second) open.push_back(&subgraph->nodes);
        }
      }
    }
    return used;
  }

  static std::set<std::string> used_parameters(const std::vector<GraphNode>& nodes,
                                               const Json& parameters) {
    std::vector<std::string> used;
    for (const GraphNode& node : nodes) substitute(node.params, parameters, nullptr, &used);
    return {used.begin(), used.end()};
  }

  static void drop_parameters(Json& parameters, const std::vector<GraphNode>& before,
                              const std::vector<GraphNode>& now) {
    const auto used_now = used_parameters(now, parameters);
    for (const std::string& name : used_parameters(before, parameters)) {
      if (!used_now.contains(name)) parameters.erase(name);
    }
  }

  /// Whether a placement's path leads through a node that is gone.
  bool passes_gone(const std::string& path) const {
    Reference at;
    const Subgraph* level = nullptr;
    std::string rest = path;
    while (!rest.empty()) {
      const std::size_t slash = rest.find('/');
      at.node = rest.substr(0, slash);
      rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
      const auto gone = gone_.find(level == nullptr ? "" : level->name);
      if (gone != gone_.end() && gone->second.contains(at.node)) return true;
      const auto& nodes = level == nullptr ? original_.nodes : level->nodes;
      const auto node = std::find_if(nodes.begin(), nodes.end(),
                                     [&](const GraphNode& n) { return n.name == at.node; });
      if (node == nodes.end()) return false;
      const auto bodies = bodies_of(*node, catalogue_);
      if (bodies.size() != 1) return false;
      level = original_.subgraph(bodies.front());
      if (level == nullptr) return false;
    }
    return false;
  }

  const Document& original_;
  Document document_;
  const Catalogue& catalogue_;
  std::vector<Problem>& problems_;
  std::map<std::string, std::set<std::string>> gone_;  ///< per level: names
};

}  // namespace

bool has_modes(const Document& document) {
  const auto any = [](const std::vector<GraphNode>& nodes) {
    return std::any_of(nodes.begin(), nodes.end(), has_mode);
  };
  return any(document.nodes) ||
         std::any_of(document.subgraphs.begin(), document.subgraphs.end(),
                     [&](const Subgraph& subgraph) { return any(subgraph.nodes); });
}

Document active_part(const Document& document, const Catalogue& catalogue,
                     std::vector<Problem>& problems) {
  return ActivePart(document, catalogue, problems).make();
}

}  // namespace rewardloom
