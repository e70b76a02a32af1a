// Checks of what scale rewards are on: divided by a spread twice, or of two units in one sum.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "engine/graph/graph_checks.h"
#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

bool carries_rewards(const PortDeclaration& port) {
  static const std::vector<std::string> types = {"Rewards", "TokenRewards", "StepRewards",
                                                 "Advantages"};
  return std::find(types.begin(), types.end(), port.type) != types.end();
}

/// What an input asks of scales, where its own conditions hold: `not`, `alike`.
std::optional<Json> need_of(const FlatNode& node, const PortDeclaration& port) {
  const auto need = port.needs.find(kScaleFact);
  if (need == port.needs.end() || !all_hold(node, need->value("when", Json::object()))) return {};
  return *need;
}

std::string text_of(const Json& need, const char* key) { return need.value(key, ""); }

/// The scale of a value, and the output that gave it this scale. No name: nothing is known of it.
struct Scale {
  std::string name;
  int origin = -1;
};

class ScaleFinder {
 public:
  explicit ScaleFinder(const CheckedGraph& checked)
      : graph_(checked.graph), scales_(checked.graph.slots.size()) {
    for (const int id : checked.flow.order) visit(graph_.nodes[at(id)]);
  }
  const Scale& of(int slot) const { return scales_[at(slot)]; }

 private:
  void visit(const FlatNode& node) {
    if (node.type == nullptr) return;
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int slot = node.slot(o);
      const auto& aliases = graph_.slots[at(slot)].aliases;
      if (!aliases.empty()) {
        scales_[at(slot)] = scales_[at(aliases.front())];
      } else if (carries_rewards((*node.outputs)[o])) {
        const auto stated = stated_by(node, (*node.outputs)[o]);
        scales_[at(slot)] = stated ? Scale{*stated, slot} : inherited(node);
      }
    }
  }

  static std::optional<std::string> stated_by(const FlatNode& node, const PortDeclaration& port) {
    const auto fact = port.facts.find(kScaleFact);
    if (fact == port.facts.end()) return {};
    for (const auto& [name, when] : fact->items()) {
      if (all_hold(node, when)) return name;
    }
    return {};
  }

  /// A node with one reward passes on its scale; one with several only a scale that it asks all of
  /// them to have.
  Scale inherited(const FlatNode& node) const {
    std::vector<Scale> all;
    std::string wanted;
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      const PortDeclaration& port = (*node.inputs)[p];
      if (!carries_rewards(port)) continue;
      if (const auto need = need_of(node, port)) wanted = text_of(*need, "alike");
      for (const FlatEdge& edge : node.edges[p]) {
        all.push_back(edge.slot < 0 ? Scale{} : scales_[at(edge.slot)]);
      }
    }
    if (all.empty()) return {};
    const bool agree = std::all_of(all.begin(), all.end(),
                                   [&](const Scale& s) { return s.name == all.front().name; });
    return all.size() == 1 || (agree && all.front().name == wanted) ? all.front() : Scale{};
  }

  const FlatGraph& graph_;
  std::vector<Scale> scales_;
};

/// The conditions of a declaration in words: "mode lsc".
std::string conditions_text(const Json& when) {
  std::vector<std::string> parts;
  for (const auto& [name, condition] : when.items()) {
    parts.push_back(name + " " + condition_text(condition));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// "adv.scale to none": values of a parameter with which the need no longer holds.
std::string way_out(const FlatNode& node, const Json& when) {
  for (const auto& [name, condition] : when.items()) {
    const ParameterDeclaration* const parameter = node.type->param(name);
    if (parameter == nullptr) continue;
    std::vector<std::string> others;
    for (const ChoiceDeclaration& choice : parameter->choices) {
      if (!satisfies(choice.name, condition)) others.push_back(choice.name);
    }
    if (parameter->kind == ParameterKind::boolean) {
      others.push_back(satisfies(true, condition) ? "false" : "true");
    }
    if (!others.empty())
      return fmt::format("set {}.{} to {}, or ", node.name, name, listed(others));
  }
  return {};
}

void check_twice(const CheckedGraph& checked, const FlatNode& node, const PortDeclaration& port,
                 const Json& need, const Scale& scale) {
  const FlatGraph& graph = checked.graph;
  const std::string& origin = graph.nodes[at(graph.slots[at(scale.origin)].node)].name;
  checked.report(node, port.name, "double-normalisation",
                 fmt::format("{0} is {1} already: {1} again here, it loses the scale that it had",
                             graph.slot_name(scale.origin), scale.name),
                 fmt::format("{}take the reward from before {}",
                             way_out(node, need.value("when", Json::object())), origin),
                 Severity::warning);
}

/// Node types that give one reward this scale, with the parameters for it.
std::vector<std::string> makers_of(const Catalogue& catalogue, const std::string& scale) {
  std::vector<std::string> makers;
  for (const auto& [id, type] : catalogue.nodes()) {
    const bool takes_one = std::any_of(
        type.inputs.begin(), type.inputs.end(),
        [](const PortDeclaration& p) { return carries_rewards(p) && !p.variadic && !p.optional; });
    for (const PortDeclaration& port : type.outputs) {
      const auto fact = port.facts.find(kScaleFact);
      if (!takes_one || fact == port.facts.end() || !fact->contains(scale)) continue;
      const std::string how = conditions_text(fact->at(scale));
      makers.push_back(how.empty() ? id : fmt::format("{} ({})", id, how));
    }
  }
  return makers;
}

void check_alike(const CheckedGraph& checked, const FlatNode& node, std::size_t port,
                 const std::string& scale, const ScaleFinder& scales) {
  std::vector<std::string> alike, others;
  for (const FlatEdge& edge : node.edges[port]) {
    if (edge.slot < 0) continue;
    const bool is_alike = scales.of(edge.slot).name == scale;
    (is_alike ? alike : others).push_back(checked.graph.slot_name(edge.slot));
  }
  if (alike.empty() || others.empty()) return;
  const std::vector<std::string> makers = makers_of(*checked.graph.catalogue, scale);
  checked.report(
      node, (*node.inputs)[port].name, "mixed-scales",
      fmt::format("{} {} a {}, but {} {} not: with different units, one can make up for what "
                  "another lacks",
                  listed(alike, "and"), alike.size() == 1 ? "is" : "are each", scale,
                  listed(others, "and"), others.size() == 1 ? "is" : "are"),
      makers.empty() ? fmt::format("give all of them as a {}", scale)
                     : fmt::format("put {} behind {} too", listed(makers), listed(others, "and")),
      Severity::warning);
}

}  // namespace

void check_scales(const CheckedGraph& checked) {
  const ScaleFinder scales(checked);
  for (const FlatNode& node : checked.graph.nodes) {
    if (node.type == nullptr) continue;
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      const PortDeclaration& port = (*node.inputs)[p];
      const auto need = need_of(node, port);
      if (!need) continue;
      const std::string unwanted = text_of(*need, "not"), wanted = text_of(*need, "alike");
      for (const FlatEdge& edge : node.edges[p]) {
        if (unwanted.empty() || edge.slot < 0 || scales.of(edge.slot).name != unwanted) continue;
        check_twice(checked, node, port, *need, scales.of(edge.slot));
      }
      if (!wanted.empty()) check_alike(checked, node, p, wanted, scales);
    }
  }
}

}  // namespace rewardloom
