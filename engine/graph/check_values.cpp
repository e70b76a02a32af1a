// Checks of what flows along the edges: sizes, facts and gold rewards.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "engine/graph/graph_checks.h"
#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

// ---- sizes ----

/// Letters of extents that models and data sets fix: two of them may well be equal.
constexpr std::string_view kExtents = "ACDFHKVW";

bool is_compared(std::string_view letter) {
  if (letter.empty() || letter[0] < 'A' || letter[0] > 'Z') return false;
  return letter.size() > 1 || kExtents.find(letter[0]) == std::string_view::npos;
}

std::vector<std::string_view> letters_of(std::string_view dims) {
  std::vector<std::string_view> letters;
  while (!dims.empty()) {
    const std::size_t comma = dims.find(',');
    letters.push_back(dims.substr(0, comma));
    dims = comma == std::string_view::npos ? std::string_view() : dims.substr(comma + 1);
  }
  return letters;
}

class SizeCheck {
 public:
  explicit SizeCheck(const CheckedGraph& checked)
      : checked_(checked), graph_(checked.graph), sizes_(checked.graph.slots.size()) {}

  void run() {
    for (const int id : checked_.flow.order) visit(graph_.nodes[at(id)]);
  }

 private:
  struct Symbol {
    std::string_view letter;
    int slot;  ///< the output that made it
  };
  struct Binding {
    std::string_view letter;
    int symbol;
    std::size_t port;
  };

  void visit(const FlatNode& node) {
    if (node.type == nullptr) return;
    std::vector<Binding> bindings;
    for (std::size_t port = 0; port < node.edges.size(); ++port) {
      for (const FlatEdge& edge : node.edges[port]) bind(node, port, edge, bindings);
    }
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int slot = node.slot(o);
      const auto& aliases = graph_.slots[at(slot)].aliases;
      if (!aliases.empty()) {
        sizes_[at(slot)] = sizes_[at(aliases.front())];
      } else {
        give(slot, bindings, is_complete(node));
      }
    }
  }

  void bind(const FlatNode& node, std::size_t port, const FlatEdge& edge,
            std::vector<Binding>& bindings) {
    const PortDeclaration& declaration = (*node.inputs)[port];
    if (!fits(edge, declaration)) return;  // reported as such
    const auto letters = letters_of(graph_.dims(declaration));
    const std::vector<int>& sizes = sizes_[at(edge.slot)];
    for (std::size_t i = 0; i < std::min(letters.size(), sizes.size()); ++i) {
      if (!is_compared(letters[i])) continue;
      const auto known = std::find_if(bindings.begin(), bindings.end(),
                                      [&](const Binding& b) { return b.letter == letters[i]; });
      if (known == bindings.end()) {
        bindings.push_back({letters[i], sizes[i], port});
      } else if (known->symbol < 0) {
        *known = {letters[i], sizes[i], port};
      } else if (sizes[i] >= 0 && known->symbol != sizes[i] && !node.container()) {
        report(node, port, *known, sizes[i]);
        return;
      }
    }
  }

  bool fits(const FlatEdge& edge, const PortDeclaration& port) const {
    return edge.slot >= 0 && edge.type == port.type &&
           graph_.slots[at(edge.slot)].declaration->type == port.type;
  }

  void report(const FlatNode& node, std::size_t port, const Binding& known, int symbol) {
    const Symbol& here = symbols_[at(symbol)];
    const Symbol& there = symbols_[at(known.symbol)];
    const std::string& name = (*node.inputs)[port].name;
    const std::string& other = (*node.inputs)[known.port].name;
    checked_.report(node, name, "size-mismatch",
                    fmt::format("its {} is the {} of {}, but {} of this node has the {} of {}",
                                known.letter, here.letter, graph_.slot_name(here.slot),
                                port == known.port ? "another edge" : "port " + other, there.letter,
                                graph_.slot_name(there.slot)),
                    fmt::format("feed both from {}, or both from {}", graph_.slot_name(there.slot),
                                graph_.slot_name(here.slot)));
  }

  /// Where an input is missing or wrong, what the outputs do not share with another stays unknown.
  bool is_complete(const FlatNode& node) const {
    for (std::size_t port = 0; port < node.edges.size(); ++port) {
      const PortDeclaration& declaration = (*node.inputs)[port];
      if (node.edges[port].empty() && !declaration.optional) return false;
      for (const FlatEdge& edge : node.edges[port]) {
        if (!fits(edge, declaration)) return false;
        const bool unknown = sizes_[at(edge.slot)].empty() && !graph_.is_handle(edge.slot) &&
                             !graph_.dims(*graph_.slots[at(edge.slot)].declaration).empty();
        if (unknown) return false;
      }
    }
    return true;
  }

  void give(int slot, std::vector<Binding>& bindings, bool complete) {
    if (graph_.is_handle(slot)) return;
    for (const std::string_view letter :
         letters_of(graph_.dims(*graph_.slots[at(slot)].declaration))) {
      if (!is_compared(letter)) {
        sizes_[at(slot)].push_back(-1);
        continue;
      }
      auto known = std::find_if(bindings.begin(), bindings.end(),
                                [&](const Binding& b) { return b.letter == letter; });
      if (known == bindings.end() && !complete) {
        sizes_[at(slot)].push_back(-1);
        continue;
      }
      if (known == bindings.end()) {
        symbols_.push_back({letter, slot});
        bindings.push_back({letter, static_cast<int>(symbols_.size()) - 1, 0});
        known = std::prev(bindings.end());
      }
      sizes_[at(slot)].push_back(known->symbol);
    }
  }

  const CheckedGraph& checked_;
  const FlatGraph& graph_;
  std::vector<std::vector<int>> sizes_;  // per slot, per letter: a symbol, or -1
  std::vector<Symbol> symbols_;
};

// ---- facts ----

struct Fact {
  std::string name;
  Json value;
  int node = -1;          // that states it
  std::string parameter;  // of that node, where the value comes from one
};
using Facts = std::vector<Fact>;

const Fact* find_fact(const Facts& facts, std::string_view name) {
  for (const Fact& fact : facts) {
    if (fact.name == name) return &fact;
  }
  return nullptr;
}

/// Facts of all slots. Where inputs disagree on one, the outputs do not have it.
class FactFinder {
 public:
  FactFinder(const FlatGraph& graph, const Flow& flow) : graph_(graph), facts_(graph.slots.size()) {
    for (const int id : flow.order) visit(id);
  }
  const Facts& of(int slot) const { return facts_[at(slot)]; }

 private:
  void visit(int id) {
    const FlatNode& node = graph_.nodes[at(id)];
    if (node.type == nullptr || node.outputs->empty()) return;
    const Facts inherited = merged(node);
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int slot = node.slot(o);
      const auto& aliases = graph_.slots[at(slot)].aliases;
      if (!aliases.empty()) {
        facts_[at(slot)] = facts_[at(aliases.front())];
        continue;
      }
      facts_[at(slot)] = inherited;
      for (const auto& [name, value] : (*node.outputs)[o].facts.items()) {
        if (name != kScaleFact && name != kNoisyFact) state(id, slot, name, value);
      }
    }
  }

  Facts merged(const FlatNode& node) const {
    Facts out;
    std::vector<std::string> disputed;
    for (const auto& edges : node.edges) {
      for (const FlatEdge& edge : edges) {
        if (edge.slot < 0) continue;
        for (const Fact& fact : facts_[at(edge.slot)]) {
          const Fact* const known = find_fact(out, fact.name);
          if (known == nullptr) {
            out.push_back(fact);
          } else if (known->value != fact.value) {
            disputed.push_back(fact.name);
          }
        }
      }
    }
    std::erase_if(out, [&](const Fact& fact) {
      return std::find(disputed.begin(), disputed.end(), fact.name) != disputed.end();
    });
    return out;
  }

  void state(int id, int slot, const std::string& name, const Json& value) {
    Facts& facts = facts_[at(slot)];
    std::erase_if(facts, [&](const Fact& fact) { return fact.name == name; });
    Fact fact{name, value, id, ""};
    if (value.is_string()) {
      if (const auto parameter = parameter_name(value.get_ref<const std::string&>())) {
        const FlatNode& node = graph_.nodes[at(id)];
        fact.parameter = *parameter;
        fact.value = effective_parameter(*node.type, *node.params, *parameter);
      }
    }
    // A "$name" that names nothing is reported where it stands.
    const bool unresolved =
        fact.value.is_string() && parameter_name(fact.value.get_ref<const std::string&>());
    if (!fact.value.is_null() && !unresolved) facts.push_back(std::move(fact));
  }

  const FlatGraph& graph_;
  std::vector<Facts> facts_;
};

std::string code_of(std::string fact) {
  std::replace(fact.begin(), fact.end(), '_', '-');
  return fact;
}

void check_need(const CheckedGraph& checked, const FlatNode& node, const PortDeclaration& port,
                const Fact& fact, const Json& condition) {
  if (satisfies(fact.value, condition)) return;
  const std::string& origin = checked.graph.nodes[at(fact.node)].name;
  const std::string wanted = condition_text(condition);
  const bool set = !fact.parameter.empty();
  checked.report(node, port.name, code_of(fact.name),
                 set ? fmt::format("needs {} of {}, but {}.{} is {}", fact.name, wanted, origin,
                                   fact.parameter, fact.value.dump())
                     : fmt::format("needs {} of {}, but {} gives {}", fact.name, wanted, origin,
                                   fact.value.dump()),
                 set ? fmt::format("set {}.{} to {}", origin, fact.parameter, wanted) : "");
}

// ---- gold ----

class GoldCheck {
 public:
  explicit GoldCheck(const CheckedGraph& checked) : checked_(checked), graph_(checked.graph) {
    for (std::size_t id = 0; id < graph_.nodes.size(); ++id) {
      const FlatNode& node = graph_.nodes[id];
      for (std::size_t p = 0; p < node.edges.size(); ++p) {
        for (const FlatEdge& edge : node.edges[p]) {
          const int handle = edge.slot < 0 ? -1 : checked.flow.slot_handle[at(edge.slot)];
          if (handle >= 0) handle_users_[handle].push_back(static_cast<int>(id));
        }
      }
    }
  }

  void run() {
    for (std::size_t s = 0; s < graph_.slots.size(); ++s) {
      const FlatSlot& slot = graph_.slots[s];
      if (slot.node < 0 || !slot.aliases.empty()) continue;
      const FlatNode& node = graph_.nodes[at(slot.node)];
      const bool gold = slot.declaration->gold || node.gold;
      if (gold && !graph_.is_handle(static_cast<int>(s))) follow(static_cast<int>(s));
    }
  }

 private:
  void follow(int source) {
    previous_.assign(graph_.nodes.size(), -2);
    source_ = source;
    std::vector<int> slots = {source};
    while (!slots.empty()) {
      const int slot = slots.back();
      slots.pop_back();
      for (const int outer : checked_.alias_of[at(slot)]) slots.push_back(outer);
      for (const int reader : checked_.readers[at(slot)]) {
        enter(reader, slot, graph_.slots[at(slot)].node, slots);
      }
    }
  }

  void enter(int id, int slot, int from, std::vector<int>& slots) {
    const FlatNode& node = graph_.nodes[at(id)];
    if (previous_[at(id)] != -2 || node.type == nullptr || id == from) return;
    previous_[at(id)] = from;
    if (node.type->traits.trains) return report(id, slot);
    if (node.type->traits.evaluates) return;
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int output = node.slot(o);
      if (graph_.slots[at(output)].aliases.empty() && !graph_.is_handle(output)) {
        slots.push_back(output);
      }
    }
    taint_state(id, slots);
  }

  /// What a node writes into a buffer comes out wherever the buffer is used.
  void taint_state(int id, std::vector<int>& slots) {
    const FlatNode& node = graph_.nodes[at(id)];
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      if ((*node.inputs)[p].access != Access::write || node.container()) continue;
      for (const FlatEdge& edge : node.edges[p]) {
        const int handle = edge.slot < 0 ? -1 : checked_.flow.slot_handle[at(edge.slot)];
        if (handle < 0) continue;
        for (const int user : handle_users_[handle]) enter(user, edge.slot, id, slots);
      }
    }
  }

  void report(int id, int slot) {
    std::vector<std::string> path = {graph_.nodes[at(id)].name};
    for (int n = previous_[at(id)]; n >= 0; n = previous_[at(n)]) {
      path.push_back(graph_.nodes[at(n)].name);
      if (n == graph_.slots[at(source_)].node) break;
    }
    std::reverse(path.begin(), path.end());
    const FlatNode& node = graph_.nodes[at(id)];
    const std::string origin = graph_.slot_name(source_);
    checked_.report(
        node, port_of(node, slot), "gold-to-loss",
        fmt::format("trains on {}, a gold reward for measuring only: {}", origin,
                    fmt::join(path, " -> ")),
        graph_.nodes[at(graph_.slots[at(source_)].node)].gold
            ? fmt::format("train on a proxy reward, or take \"role\": \"gold\" from {}",
                          path.front())
            : fmt::format("train on a proxy reward; {} may only reach evaluations", origin));
  }

  static std::string port_of(const FlatNode& node, int slot) {
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      for (const FlatEdge& edge : node.edges[p]) {
        if (edge.slot == slot) return (*node.inputs)[p].name;
      }
    }
    return {};
  }

  const CheckedGraph& checked_;
  const FlatGraph& graph_;
  std::map<int, std::vector<int>> handle_users_;
  std::vector<int> previous_;  // the node from which gold came; -2: not reached
  int source_ = -1;
};

}  // namespace

CheckedGraph::CheckedGraph(const FlatGraph& flat, const Flow& order, ProblemList& list)
    : graph(flat),
      flow(order),
      problems(list),
      readers(flat.slots.size()),
      alias_of(flat.slots.size()) {
  for (std::size_t id = 0; id < flat.nodes.size(); ++id) {
    for (const auto& edges : flat.nodes[id].edges) {
      for (const FlatEdge& edge : edges) {
        if (edge.slot < 0) continue;
        auto& list_of = readers[at(edge.slot)];
        if (list_of.empty() || list_of.back() != static_cast<int>(id)) {
          list_of.push_back(static_cast<int>(id));
        }
      }
    }
  }
  for (std::size_t s = 0; s < flat.slots.size(); ++s) {
    for (const int inner : flat.slots[s].aliases)
      alias_of[at(inner)].push_back(static_cast<int>(s));
  }
}

void CheckedGraph::report(const FlatNode& node, const std::string& port, std::string code,
                          std::string text, std::string help, Severity severity) const {
  problems.add(ProblemList::nodes, node.order,
               Problem{severity,
                       std::move(code),
                       {graph.document->file, node.name, port},
                       std::move(text),
                       std::move(help),
                       {}},
               node.graph);
}

void check_sizes(const CheckedGraph& checked) { SizeCheck(checked).run(); }

void check_facts(const CheckedGraph& checked) {
  const FactFinder facts(checked.graph, checked.flow);
  for (const FlatNode& node : checked.graph.nodes) {
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      const PortDeclaration& port = (*node.inputs)[p];
      if (port.needs.empty()) continue;
      for (const FlatEdge& edge : node.edges[p]) {
        if (edge.slot < 0) continue;
        for (const auto& [name, condition] : port.needs.items()) {
          if (name == kScaleFact || name == kScorerNeed || name == kPromptsNeed) continue;
          const Fact* const fact = find_fact(facts.of(edge.slot), name);
          if (fact != nullptr) check_need(checked, node, port, *fact, condition);
        }
      }
    }
  }
}

void check_gold(const CheckedGraph& checked) { GoldCheck(checked).run(); }

std::vector<Json> slot_facts(const FlatGraph& graph, const Flow& flow) {
  const FactFinder facts(graph, flow);
  std::vector<Json> out(graph.slots.size(), Json::object());
  for (std::size_t s = 0; s < out.size(); ++s) {
    for (const Fact& fact : facts.of(static_cast<int>(s))) out[s][fact.name] = fact.value;
  }
  return out;
}

}  // namespace rewardloom
