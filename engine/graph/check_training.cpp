// Checks of what is trained and measured: losses, rewards that go nowhere, dead nodes, own rules.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "engine/graph/graph_checks.h"
#include "engine/graph/parameters.h"
#include "engine/graph/rules.h"

namespace rewardloom {
namespace {

bool writes(const FlatNode& node) {
  for (std::size_t p = 0; p < node.edges.size(); ++p) {
    if ((*node.inputs)[p].access == Access::write && !node.edges[p].empty()) return true;
  }
  return false;
}

/// The nodes from which one of `wanted` or a slot that `is_wanted` can be reached, those included.
template <class IsWanted>
std::vector<bool> upstream_of(const CheckedGraph& checked, std::vector<int> wanted,
                              const IsWanted& is_wanted) {
  const FlatGraph& graph = checked.graph;
  std::vector<bool> reached(graph.nodes.size(), false);
  for (const int id : wanted) reached[at(id)] = true;
  const auto reach = [&](int slot) {
    const int producer = slot < 0 ? -1 : graph.slots[at(slot)].node;
    if (producer < 0 || reached[at(producer)]) return;
    reached[at(producer)] = true;
    wanted.push_back(producer);
  };
  for (std::size_t s = 0; s < graph.slots.size(); ++s) {
    if (is_wanted(static_cast<int>(s))) reach(static_cast<int>(s));
  }
  while (!wanted.empty()) {
    const FlatNode& node = graph.nodes[at(wanted.back())];
    wanted.pop_back();
    for (const auto& edges : node.edges) {
      for (const FlatEdge& edge : edges) reach(edge.slot);
    }
    // A container is as alive as what is in it, and what it gives comes from its bodies.
    const int container = graph.levels[at(node.level)].container;
    if (container >= 0 && !reached[at(container)]) {
      reached[at(container)] = true;
      wanted.push_back(container);
    }
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      for (const int alias : graph.slots[at(node.slot(o))].aliases) reach(alias);
    }
  }
  return reached;
}

bool is_recorded(const FlatGraph& graph, int slot) {
  const PortTypeDeclaration* const type = graph.slot_type(slot);
  return (type != nullptr && type->probe) || graph.slots[at(slot)].declaration->type == "Metrics";
}

void check_dead(const CheckedGraph& checked) {
  const FlatGraph& graph = checked.graph;
  std::vector<int> alive;
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const FlatNode& node = graph.nodes[id];
    if (node.type == nullptr || node.type->traits.effect || node.type->traits.trains ||
        writes(node)) {
      alive.push_back(static_cast<int>(id));
    }
  }
  const std::vector<bool> reached = upstream_of(checked, std::move(alive), [&](int slot) {
    return graph.slots[at(slot)].exported || is_recorded(graph, slot);
  });
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const FlatNode& node = graph.nodes[id];
    const int container = graph.levels[at(node.level)].container;
    if (reached[id] || (container >= 0 && !reached[at(container)])) continue;
    std::vector<std::string> outputs;
    for (const PortDeclaration& port : *node.outputs) outputs.push_back(port.name);
    checked.report(
        node, "", "dead-node",
        "what it gives reaches nothing that is trained, saved, measured or recorded",
        outputs.empty() ? "remove it" : fmt::format("connect {}, or remove it", listed(outputs)),
        Severity::warning);
  }
}

void check_unused_rewards(const CheckedGraph& checked) {
  const FlatGraph& graph = checked.graph;
  std::vector<int> uses;
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const FlatNode& node = graph.nodes[id];
    if (node.type == nullptr) continue;
    const Traits& traits = node.type->traits;
    if (traits.trains || traits.evaluates || (traits.effect && !node.container())) {
      uses.push_back(static_cast<int>(id));
    }
  }
  // What a subgraph that nothing uses gives may be used one day.
  const std::vector<bool> useful = upstream_of(checked, std::move(uses), [&](int slot) {
    const int producer = graph.slots[at(slot)].node;
    if (producer < 0 || !graph.slots[at(slot)].exported) return false;
    const FlatLevel& level = graph.levels[at(graph.nodes[at(producer)].level)];
    return level.container < 0 && level.subgraph != nullptr;
  });
  for (std::size_t id = 0; id < graph.nodes.size(); ++id) {
    const FlatNode& node = graph.nodes[id];
    if (useful[id] || node.gold || node.type == nullptr || node.container()) continue;
    for (const PortDeclaration& port : *node.outputs) {
      if (port.type != "Rewards" || port.gold) continue;
      checked.report(
          node, port.name, "unused-rewards", "these rewards reach no optimizer and no evaluation",
          "connect them to an advantage or an evaluation, or mark the node with \"role\": "
          "\"gold\" if they are only to be looked at",
          Severity::warning);
    }
  }
}

// ---- losses ----

/// The loss nodes behind a LossTerm, through nodes that combine terms. False where one is not
/// known.
bool collect_losses(const FlatGraph& graph, int slot, std::set<int>& losses, int depth = 0) {
  constexpr int deepest = 100;
  if (slot < 0 || depth > deepest) return false;
  const FlatSlot& s = graph.slots[at(slot)];
  if (s.node < 0) return false;
  bool known = true;
  for (const int alias : s.aliases)
    known = collect_losses(graph, alias, losses, depth + 1) && known;
  if (!s.aliases.empty()) return known;
  const FlatNode& node = graph.nodes[at(s.node)];
  if (node.type == nullptr) return false;
  if (!node.type->loss_arguments.empty()) {
    losses.insert(s.node);
    return true;
  }
  bool any = false;
  for (std::size_t p = 0; p < node.edges.size(); ++p) {
    if ((*node.inputs)[p].type != s.declaration->type) continue;
    for (const FlatEdge& edge : node.edges[p]) {
      any = true;
      known = collect_losses(graph, edge.slot, losses, depth + 1) && known;
    }
  }
  return any && known;
}

bool connected(const FlatNode& node, std::string_view port) {
  for (std::size_t p = 0; p < node.edges.size(); ++p) {
    if ((*node.inputs)[p].name == port) return !node.edges[p].empty();
  }
  return false;
}

/// Whether the optimizer hands the argument in: one that is also an optional input only if
/// connected.
bool supplies(const FlatNode& optimizer, const std::string& argument) {
  const auto& names = optimizer.type->supplies;
  if (std::find(names.begin(), names.end(), argument) == names.end()) return false;
  const PortDeclaration* const port = optimizer.type->input(argument);
  return port == nullptr || !port->optional || connected(optimizer, argument);
}

std::vector<std::string> supplied(const FlatNode& optimizer) {
  std::vector<std::string> names;
  for (const std::string& name : optimizer.type->supplies) {
    if (supplies(optimizer, name)) names.push_back(name);
  }
  return names;
}

void check_arguments(const CheckedGraph& checked, const FlatNode& optimizer, const FlatNode& loss) {
  for (const LossArgumentDeclaration& argument : loss.type->loss_arguments) {
    if (argument.optional || supplies(optimizer, argument.name)) continue;
    if (connected(loss, argument.name)) continue;
    std::vector<std::string> ways;
    if (loss.type->input(argument.name) != nullptr) ways.push_back(loss.name + "." + argument.name);
    const auto& names = optimizer.type->supplies;
    if (std::find(names.begin(), names.end(), argument.name) != names.end()) {
      ways.push_back(optimizer.name + "." + argument.name);
    }
    const std::vector<std::string> has = supplied(optimizer);
    checked.report(
        loss, argument.name, "loss-argument-missing",
        fmt::format("needs {}, but {} hands in {}", argument.name, optimizer.name,
                    has.empty() ? "nothing" : "only " + listed(has, "and")),
        ways.empty() ? "use this loss with another optimizer" : "connect " + listed(ways));
  }
}

bool trains_through(const FlatNode& optimizer, const FlatNode& loss) {
  for (const LossArgumentDeclaration& argument : loss.type->loss_arguments) {
    const bool handed_in = supplies(optimizer, argument.name) && !connected(loss, argument.name);
    if (argument.differentiable && handed_in) return true;
  }
  return false;
}

void report_no_path(const CheckedGraph& checked, const FlatNode& optimizer, const std::string& port,
                    const std::set<int>& losses) {
  std::vector<std::string> terms;
  for (const int loss : losses) terms.push_back(checked.graph.nodes[at(loss)].name);
  std::vector<std::string> makers;
  for (const auto& [id, type] : checked.graph.catalogue->nodes()) {
    for (const LossArgumentDeclaration& argument : type.loss_arguments) {
      if (!argument.differentiable || !supplies(optimizer, argument.name)) continue;
      makers.push_back(id);
      break;
    }
  }
  const std::vector<std::string> has = supplied(optimizer);
  makers.resize(std::min<std::size_t>(makers.size(), 3));
  checked.report(
      optimizer, port, "no-path-to-model",
      fmt::format("no gradient reaches its model: of what it hands in ({}), {} {} nothing",
                  has.empty() ? "nothing" : listed(has, "and"), listed(terms, "and"),
                  terms.size() == 1 ? "differentiates" : "differentiate"),
      makers.empty() ? "" : fmt::format("add a loss that does, such as {}", listed(makers)));
}

void check_optimizer(const CheckedGraph& checked, const FlatNode& node) {
  std::set<int> losses;
  std::string port;
  bool known = true;
  for (std::size_t p = 0; p < node.edges.size(); ++p) {
    if ((*node.inputs)[p].type != "LossTerm") continue;
    port = (*node.inputs)[p].name;
    for (const FlatEdge& edge : node.edges[p]) {
      known = collect_losses(checked.graph, edge.slot, losses) && known;
    }
  }
  bool trains = false;
  for (const int id : losses) {
    const FlatNode& loss = checked.graph.nodes[at(id)];
    check_arguments(checked, node, loss);
    trains = trains || trains_through(node, loss);
  }
  if (known && !losses.empty() && !trains) report_no_path(checked, node, port, losses);
}

// ---- rules ----

RuledNode ruled(const FlatNode& node) {
  return {*node.type, *node.params, [&node](const std::string& input) -> std::size_t {
            for (std::size_t p = 0; p < node.edges.size(); ++p) {
              if ((*node.inputs)[p].name == input) return node.edges[p].size();
            }
            return 0;
          }};
}

}  // namespace

bool all_hold(const FlatNode& node, const Json& conditions) {
  return all_hold(ruled(node), conditions);
}

void check_use(const CheckedGraph& checked) {
  check_dead(checked);
  check_unused_rewards(checked);
}

void check_losses(const CheckedGraph& checked) {
  for (const FlatNode& node : checked.graph.nodes) {
    if (node.type != nullptr && node.type->traits.trains) check_optimizer(checked, node);
  }
}

void check_rules(const CheckedGraph& checked) {
  for (const FlatNode& node : checked.graph.nodes) {
    if (node.type == nullptr) continue;
    for (RuleFault& fault : rule_faults(ruled(node))) {
      checked.report(node, fault.place, "options", std::move(fault.text), std::move(fault.help));
    }
  }
}

namespace {

struct PlacementFault {
  const char* code;
  std::string text;
  std::string help;
};

/// "cpu" or "cuda:1": a kind of device and perhaps its number.
std::optional<PlacementFault> device_fault(const Json& value) {
  static const std::vector<std::string> kinds = {"cpu", "cuda", "hip", "xpu",
                                                 "mps", "xla",  "hpu", "mtia"};
  const std::string help = "write cpu, cuda or cuda:0, cuda:1, ...";
  if (!value.is_string()) {
    return PlacementFault{"param-type", fmt::format("is {}, which is no text", value.dump()), help};
  }
  const std::string& text = value.get_ref<const std::string&>();
  const std::size_t colon = text.find(':');
  const bool kind = std::find(kinds.begin(), kinds.end(), text.substr(0, colon)) != kinds.end();
  const std::string number = colon == std::string::npos ? "0" : text.substr(colon + 1);
  const bool numbered = !number.empty() && number.size() <= 2 &&
                        number.find_first_not_of("0123456789") == std::string::npos;
  if (kind && numbered) return std::nullopt;
  return PlacementFault{"param-choice", fmt::format("{} names no device", value.dump()), help};
}

std::optional<PlacementFault> placement_fault(const std::string& key, const Json& value) {
  if (key == "device") return device_fault(value);
  const auto whole = [&](std::int64_t least) {
    return value.is_number_integer() && value >= least && value <= 1000000000;
  };
  if (key == "micro_batch" && !whole(0) && value != "auto") {
    return PlacementFault{"param-type",
                          fmt::format("is {}, which is no number of rows", value.dump()),
                          "give a number, 0 for the node's own choice, or \"auto\""};
  }
  if (key == "threads" && !whole(1)) {
    return PlacementFault{"param-type",
                          fmt::format("is {}, which is no number of threads", value.dump()),
                          "give a whole number of at least 1"};
  }
  if (key == "rank" && !whole(0)) {
    return PlacementFault{"param-type", fmt::format("is {}, which is no rank", value.dump()),
                          "ranks are whole numbers from 0"};
  }
  return std::nullopt;
}

}  // namespace

void check_placement(const CheckedGraph& checked) {
  static const std::vector<std::string> known_keys = {"device", "threads", "micro_batch", "rank"};
  const FlatGraph& graph = checked.graph;
  const auto add = [&](const std::string& node, const std::string& key, const char* code,
                       std::string text, std::string help, Severity severity = Severity::warning) {
    checked.problems.add(ProblemList::placement, 0,
                         Problem{severity,
                                 code,
                                 {graph.document->file, node.empty() ? "placement" : node, key},
                                 std::move(text),
                                 std::move(help),
                                 {}});
  };
  std::set<std::string> names;
  for (const FlatNode& node : graph.nodes) names.insert(node.name);
  for (const FlatInstance& instance : graph.instances) {
    if (instance.parent >= 0) names.insert(instance.prefix.substr(0, instance.prefix.size() - 1));
  }
  for (const auto& [name, entry] : graph.document->placement.items()) {
    if (!names.contains(name)) {
      const std::vector<std::string> all(names.begin(), names.end());
      const std::vector<std::string> near = nearest(name, all);
      add("", name, "unknown-placement", fmt::format("there is no node \"{}\" to be placed", name),
          near.empty() ? "remove the entry" : "did you mean " + listed(near));
    }
    if (!entry.is_object()) {
      add("", name, "param-type", fmt::format("expects an object, but is {}", entry.dump()),
          "write for example {\"device\": \"cuda:0\"}", Severity::error);
      continue;
    }
    for (const auto& [key, value] : entry.items()) {
      if (const auto fault = placement_fault(key, value)) {
        add("placement." + name, key, fault->code, fault->text, fault->help, Severity::error);
      }
      if (std::find(known_keys.begin(), known_keys.end(), key) != known_keys.end()) continue;
      add("placement." + name, key, "unknown-key",
          "a placement has no key of this name; it is kept but has no effect",
          "its keys are " + listed(known_keys, "and"));
    }
  }
}

}  // namespace rewardloom
