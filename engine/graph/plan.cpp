#include "engine/graph/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/graph/active_nodes.h"
#include "engine/graph/flat.h"
#include "engine/graph/flow.h"
#include "engine/graph/graph_checks.h"
#include "engine/graph/parameters.h"
#include "engine/graph/settings.h"

namespace rewardloom {
namespace {

/// Turns the levels of a flat graph into plans, the bodies of containers first.
class PlanMaker {
 public:
  PlanMaker(const FlatGraph& graph, const Flow& flow)
      : graph_(graph), flow_(flow), facts_(slot_facts(graph, flow)) {
    find_written();
    find_invariant();
    find_gold();
  }

  Plan make(int level_id) {
    const FlatLevel& level = graph_.levels[at(level_id)];
    const FlatInstance& instance = graph_.instances[at(level.instance)];
    Plan plan;
    plan.file = graph_.document->file;
    plan.name = level.subgraph == nullptr ? graph_.document->name : level.subgraph->name;
    plan.settings = with_defaults(graph_.document->settings);
    plan.parameters = instance.parameters;
    local_.assign(graph_.slots.size(), -1);
    add_inputs(plan, level);
    for (const int id : level.nodes) add_node(plan, id);
    for (std::size_t i = 0; i < level.nodes.size(); ++i)
      add_edges(plan, level, static_cast<int>(i));
    add_outputs(plan, level);
    add_order(plan, level_id);
    add_handles(plan, level_id);
    // Bodies last: making them uses the same table of local slots.
    for (std::size_t i = 0; i < level.nodes.size(); ++i) add_bodies(plan.nodes[i], level.nodes[i]);
    return plan;
  }

 private:
  void find_written() {
    written_.assign(flow_.handles.size(), false);
    for (const LevelFlow& level : flow_.levels) {
      for (const HandleUse& use : level.handles) {
        if (!use.writers.empty()) written_[at(use.handle)] = true;
      }
    }
  }

  void find_invariant() {
    invariant_.assign(graph_.nodes.size(), false);
    for (const int id : flow_.order) {
      const FlatNode& node = graph_.nodes[at(id)];
      if (node.type == nullptr || !node.type->traits.pure || node.container()) continue;
      bool fixed = true;
      for (const auto& edges : node.edges) {
        for (const FlatEdge& edge : edges) fixed = fixed && is_fixed(edge.slot);
      }
      invariant_[at(id)] = fixed;
    }
  }

  /// Whether the slot holds the same in every iteration of the run.
  bool is_fixed(int slot) const {
    if (slot < 0) return false;
    const int handle = flow_.slot_handle[at(slot)];
    if (handle >= 0 && written_[at(handle)]) return false;
    const int producer = graph_.slots[at(slot)].node;
    return producer >= 0 && invariant_[at(producer)];
  }

  void find_gold() {
    gold_.assign(graph_.slots.size(), false);
    for (const int id : flow_.order) {
      const FlatNode& node = graph_.nodes[at(id)];
      for (std::size_t o = 0; o < node.outputs->size(); ++o) {
        const int slot = node.slot(o);
        gold_[at(slot)] = node.gold || (*node.outputs)[o].gold;
        for (const int alias : graph_.slots[at(slot)].aliases) {
          if (gold_[at(alias)]) gold_[at(slot)] = true;
        }
      }
    }
  }

  PlanSlot slot_of(int global, std::string name) const {
    const FlatSlot& s = graph_.slots[at(global)];
    const PortTypeDeclaration* const type = graph_.slot_type(global);
    PlanSlot slot;
    slot.name = std::move(name);
    slot.type = s.declaration->type;
    slot.dims = graph_.dims(*s.declaration);
    slot.probe = type != nullptr && type->probe;
    slot.gold = gold_[at(global)];
    slot.facts = facts_[at(global)];
    return slot;
  }

  /// One slot per input of the subgraph, whether it is connected or not.
  void add_inputs(Plan& plan, const FlatLevel& level) {
    if (level.subgraph == nullptr) return;
    for (std::size_t i = 0; i < level.subgraph->inputs.size(); ++i) {
      const auto& [name, type] = level.subgraph->inputs[i];
      const int global = input_source(level, i);
      PlanSlot slot;
      if (global >= 0) {
        slot = slot_of(global, "inputs." + name);
      } else {
        slot.name = "inputs." + name;
        slot.type = type;
      }
      slot.port = static_cast<int>(i);
      plan.inputs.push_back(static_cast<int>(plan.slots.size()));
      plan.slots.push_back(std::move(slot));
    }
  }

  int input_source(const FlatLevel& level, std::size_t input) const {
    if (level.container < 0) return level.outside_slots[input];
    const FlatNode& container = graph_.nodes[at(level.container)];
    const std::string& name = level.subgraph->inputs[input].first;
    for (std::size_t p = 0; p < container.inputs->size(); ++p) {
      if ((*container.inputs)[p].name != name || container.edges[p].empty()) continue;
      return container.edges[p].front().slot;
    }
    return -1;
  }

  void add_node(Plan& plan, int id) {
    const FlatNode& flat = graph_.nodes[at(id)];
    PlanNode node;
    node.name = flat.name;
    node.type = flat.type->id;
    node.role = flat.gold ? "gold" : "";
    node.given = *flat.params;
    if (flat.container() && flat.type->param("with") == nullptr) node.given.erase("with");
    node.params = effective_parameters(*flat.type, *flat.params);
    node.on_error = graph_.error_policy(flat);
    node.deadline = graph_.deadline(flat);
    node.placement = placement_of(flat.name);
    node.invariant = invariant_[at(id)];
    for (std::size_t o = 0; o < flat.outputs->size(); ++o) {
      const int global = flat.slot(o);
      const int local = static_cast<int>(plan.slots.size());
      local_[at(global)] = local;
      PlanSlot slot = slot_of(global, graph_.slot_name(global));
      slot.producer = static_cast<int>(plan.nodes.size());
      slot.port = static_cast<int>(o);
      node.outputs.push_back({(*flat.outputs)[o].name, slot.type, local});
      plan.slots.push_back(std::move(slot));
    }
    plan.nodes.push_back(std::move(node));
  }

  /// What is said of the instances around a node holds for it too, unless it says otherwise.
  Json placement_of(const std::string& name) const {
    Json out = Json::object();
    const Json& all = graph_.document->placement;
    if (all.empty()) return out;
    for (std::size_t end = name.find('/');; end = name.find('/', end + 1)) {
      const auto entry = all.find(name.substr(0, end));
      if (entry != all.end() && entry->is_object()) out.update(*entry);
      if (end == std::string::npos) return out;
    }
  }

  void add_edges(Plan& plan, const FlatLevel& level, int position) {
    const FlatNode& flat = graph_.nodes[at(level.nodes[at(position)])];
    PlanNode& node = plan.nodes[at(position)];
    for (std::size_t p = 0; p < flat.inputs->size(); ++p) {
      const PortDeclaration& port = (*flat.inputs)[p];
      PlanInput input{port.name, port.type, port.access, port.optional, port.variadic, {}};
      for (const FlatEdge& edge : flat.edges[p]) {
        const int slot =
            edge.level_input >= 0 ? plan.inputs[at(edge.level_input)] : local_[at(edge.slot)];
        input.slots.push_back(slot);
        if (std::find(node.reads.begin(), node.reads.end(), slot) != node.reads.end()) continue;
        node.reads.push_back(slot);
        ++plan.slots[at(slot)].readers;
      }
      node.inputs.push_back(std::move(input));
    }
  }

  void add_outputs(Plan& plan, const FlatLevel& level) {
    if (level.subgraph == nullptr) return;
    for (std::size_t i = 0; i < level.subgraph->outputs.size(); ++i) {
      const auto& [name, reference] = level.subgraph->outputs[i];
      const int global = level.output_slots[i];
      int slot = global < 0 ? -1 : local_[at(global)];
      if (slot < 0) slot = passed_through(plan, level, reference);
      plan.slots[at(slot)].output = true;
      plan.output_names.push_back(name);
      plan.outputs.push_back(slot);
    }
  }

  /// An output that is one of the inputs, perhaps by way of subgraphs put in place.
  int passed_through(const Plan& plan, const FlatLevel& level, const Reference& reference) const {
    for (std::size_t i = 0; i < level.subgraph->inputs.size(); ++i) {
      const bool direct =
          reference.node == "inputs" && reference.port == level.subgraph->inputs[i].first;
      if (direct) return plan.inputs[i];
    }
    const int global = level.output_slots[static_cast<std::size_t>(
        std::find_if(level.subgraph->outputs.begin(), level.subgraph->outputs.end(),
                     [&](const auto& output) { return output.second == reference; }) -
        level.subgraph->outputs.begin())];
    for (std::size_t i = 0; i < level.subgraph->inputs.size(); ++i) {
      if (global >= 0 && input_source(level, i) == global) return plan.inputs[i];
    }
    throw Failure("unreachable-output", fmt::format("{} names nothing", reference.text()));
  }

  void add_order(Plan& plan, int level_id) {
    const LevelFlow& flow = flow_.levels[at(level_id)];
    plan.order = flow.order;
    plan.order_edges = flow.order_edges;
    for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
      plan.nodes[i].successors = flow.successors[i];
      for (const int next : flow.successors[i]) ++plan.nodes[at(next)].pending;
    }
    for (const int position : plan.order) {
      const PlanNode& node = plan.nodes[at(position)];
      for (const int next : node.successors) {
        plan.nodes[at(next)].level = std::max(plan.nodes[at(next)].level, node.level + 1);
      }
      if (plan.levels.size() <= at(node.level)) plan.levels.resize(at(node.level) + 1);
      plan.levels[at(node.level)].push_back(position);
    }
  }

  void add_handles(Plan& plan, int level_id) {
    const FlatLevel& level = graph_.levels[at(level_id)];
    std::map<int, int> index;
    const auto handle_index = [&](int global) {
      const auto [it, fresh] = index.emplace(global, static_cast<int>(plan.handles.size()));
      if (fresh) {
        const Flow::Handle& handle = flow_.handles[at(global)];
        const int creator = graph_.slots[at(handle.slot)].node;
        const bool here = creator >= 0 && graph_.nodes[at(creator)].level == level_id;
        plan.handles.push_back(
            {handle.name, handle.type, here ? flow_.position[at(creator)] : -1, {}, {}});
      }
      return it->second;
    };
    for (std::size_t s = 0; s < graph_.slots.size(); ++s) {
      if (local_[s] < 0 || flow_.slot_handle[s] < 0) continue;
      plan.slots[at(local_[s])].handle = handle_index(flow_.slot_handle[s]);
    }
    for (std::size_t i = 0; i < plan.inputs.size(); ++i) {
      const int global = input_source(level, i);
      if (global < 0 || flow_.slot_handle[at(global)] < 0) continue;
      plan.slots[at(plan.inputs[i])].handle = handle_index(flow_.slot_handle[at(global)]);
    }
    for (const HandleUse& use : flow_.levels[at(level_id)].handles) {
      PlanHandle& handle = plan.handles[at(handle_index(use.handle))];
      for (const int id : use.readers) handle.readers.push_back(flow_.position[at(id)]);
      for (const int id : use.writers) handle.writers.push_back(flow_.position[at(id)]);
    }
  }

  void add_bodies(PlanNode& node, int id) {
    for (const int level_id : graph_.nodes[at(id)].bodies) {
      const FlatLevel& level = graph_.levels[at(level_id)];
      PlanBody body;
      body.declaration = level.declaration;
      body.parameter = graph_.nodes[at(id)].type->bodies[at(level.declaration)].parameter;
      body.part = level.part;
      body.subgraph = level.subgraph->name;
      body.entry = level.entry;
      body.parameters = graph_.instances[at(level.instance)].parameters;
      for (const auto& [name, type] : level.subgraph->inputs) {
        body.input_ports.push_back(port_of(node.inputs, name));
      }
      for (const auto& [name, reference] : level.subgraph->outputs) {
        body.output_ports.push_back(port_of(node.outputs, name));
      }
      body.plan = std::make_shared<const Plan>(make(level_id));
      node.bodies.push_back(std::move(body));
    }
  }

  template <class Ports>
  static int port_of(const Ports& ports, const std::string& name) {
    for (std::size_t i = 0; i < ports.size(); ++i) {
      if (ports[i].name == name) return static_cast<int>(i);
    }
    return -1;
  }

  const FlatGraph& graph_;
  const Flow& flow_;
  std::vector<Json> facts_;
  std::vector<bool> written_;
  std::vector<bool> invariant_;
  std::vector<bool> gold_;
  std::vector<int> local_;  // of the level being made: the plan's slot of each slot, or -1
};

void throw_first_error(ProblemList problems) {
  for (Problem& problem : std::move(problems).sorted()) {
    if (problem.severity == Severity::error) throw Failure(std::move(problem));
  }
}

Plan make_plan(const FlatGraph& graph, ProblemList problems) {
  const Flow flow = find_flow(graph, problems);
  throw_first_error(std::move(problems));
  return PlanMaker(graph, flow).make(0);
}

}  // namespace

int Plan::node_index(std::string_view node_name) const {
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].name == node_name) return static_cast<int>(i);
  }
  return -1;
}

int Plan::slot_index(std::string_view slot_name) const {
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].name == slot_name) return static_cast<int>(i);
  }
  return -1;
}

int Plan::width() const {
  std::size_t most = 0;
  for (const std::vector<int>& level : levels) most = std::max(most, level.size());
  return static_cast<int>(most);
}

CriticalPath critical_path(const Plan& plan) {
  return critical_path(plan, std::vector<double>(plan.nodes.size(), 1.0));
}

CriticalPath critical_path(const Plan& plan, const std::vector<double>& node_cost) {
  std::vector<double> cost(plan.nodes.size(), 0);  // of the dearest way to and including each node
  std::vector<int> previous(plan.nodes.size(), -1);
  int last = -1;
  for (const int position : plan.order) {
    cost[at(position)] += node_cost.at(at(position));
    if (last < 0 || cost[at(position)] > cost[at(last)]) last = position;
    for (const int next : plan.nodes[at(position)].successors) {
      if (previous[at(next)] >= 0 && cost[at(next)] >= cost[at(position)]) continue;
      cost[at(next)] = cost[at(position)];
      previous[at(next)] = position;
    }
  }
  CriticalPath path;
  if (last < 0) return path;
  path.cost = cost[at(last)];
  for (int node = last; node >= 0; node = previous[at(node)]) path.nodes.push_back(node);
  std::reverse(path.nodes.begin(), path.nodes.end());
  return path;
}

Plan compile(const Document& document, const Catalogue& catalogue) {
  if (has_modes(document)) {
    std::vector<Problem> modes;
    const Document active = active_part(document, catalogue, modes);
    const auto error = std::find_if(modes.begin(), modes.end(), [](const Problem& problem) {
      return problem.severity == Severity::error;
    });
    if (error != modes.end()) throw Failure(*error);
    return compile(active, catalogue);
  }
  ProblemList problems;
  for (const Problem& problem : document.reading_problems()) {
    problems.add(ProblemList::whole, 0, problem);
  }
  const FlatGraph graph = flatten(document, catalogue, {.files = false}, problems);
  return make_plan(graph, std::move(problems));
}

Plan compile_subgraph(const Document& document, const Catalogue& catalogue,
                      std::string_view subgraph, const Json& parameters, std::string_view prefix) {
  const Subgraph* const body = document.subgraph(subgraph);
  if (body == nullptr) {
    std::vector<std::string> known;
    for (const Subgraph& s : document.subgraphs) known.push_back(s.name);
    throw Failure({Severity::error,
                   "unknown-subgraph",
                   {document.file, "", ""},
                   fmt::format("there is no subgraph \"{}\" in this file", subgraph),
                   known.empty() ? "the file has no subgraphs" : "it has " + listed(known, "and"),
                   {}});
  }
  ProblemList problems;
  const FlatGraph graph =
      flatten_subgraph(document, catalogue, *body, parameters, std::string(prefix), problems);
  return make_plan(graph, std::move(problems));
}

}  // namespace rewardloom
