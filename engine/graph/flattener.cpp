#include "engine/graph/flattener.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

bool is_name(std::string_view name) {
  const auto fits = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
  };
  return !name.empty() && std::all_of(name.begin(), name.end(), fits);
}

bool concerns_wiring(std::string_view code) {
  constexpr std::string_view others[] = {
      "bad-name",    "missing-file", "missing-parameter", "param-choice",
      "param-range", "param-type",   "unknown-parameter", "unknown-graph-parameter"};
  return std::find(std::begin(others), std::end(others), code) == std::end(others);
}

}  // namespace

void ProblemList::add(Section section, int order, Problem problem, const void* once) {
  if (once != nullptr) {
    const auto key = std::tuple(once, problem.code, problem.where.port, problem.text);
    if (!seen_.emplace(key, true).second) return;
  }
  entries_.push_back({section, order, std::move(problem)});
}

std::vector<Problem> ProblemList::sorted() && {
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.section, a.order) < std::pair(b.section, b.order);
  });
  std::vector<Problem> problems;
  problems.reserve(entries_.size());
  for (Entry& entry : entries_) problems.push_back(std::move(entry.problem));
  return problems;
}

std::string FlatGraph::slot_name(int slot) const {
  const FlatSlot& s = slots[static_cast<std::size_t>(slot)];
  if (s.node < 0) return "inputs." + s.declaration->name;
  return nodes[static_cast<std::size_t>(s.node)].name + "." + s.declaration->name;
}

const PortTypeDeclaration* FlatGraph::slot_type(int slot) const {
  return catalogue->type(slots[static_cast<std::size_t>(slot)].declaration->type);
}

bool FlatGraph::is_handle(int slot) const {
  const PortTypeDeclaration* const type = slot_type(slot);
  return type != nullptr && type->handle;
}

std::string_view FlatGraph::dims(const PortDeclaration& port) const {
  if (!port.dims.empty()) return port.dims;
  const PortTypeDeclaration* const type = catalogue->type(port.type);
  return type == nullptr ? std::string_view() : std::string_view(type->dims);
}

ErrorPolicy FlatGraph::error_policy(const FlatNode& node) const {
  if (node.graph->on_error) return *node.graph->on_error;
  const FlatInstance* instance = &instances[static_cast<std::size_t>(node.instance)];
  while (instance->parent_node != nullptr && instance->container < 0) {
    if (instance->parent_node->on_error) return *instance->parent_node->on_error;
    instance = &instances[static_cast<std::size_t>(instance->parent)];
  }
  return {};
}

double FlatGraph::deadline(const FlatNode& node) const {
  if (node.graph->deadline) return *node.graph->deadline;
  const FlatInstance* instance = &instances[static_cast<std::size_t>(node.instance)];
  while (instance->parent_node != nullptr && instance->container < 0) {
    if (instance->parent_node->deadline) return *instance->parent_node->deadline;
    instance = &instances[static_cast<std::size_t>(instance->parent)];
  }
  return 0;
}

std::string type_text(const Catalogue& catalogue, std::string_view type, std::string_view dims) {
  if (dims.empty()) {
    const PortTypeDeclaration* const declaration = catalogue.type(type);
    if (declaration != nullptr) dims = declaration->dims;
  }
  return dims.empty() ? std::string(type) : fmt::format("{} [{}]", type, dims);
}

std::string known_names(std::string_view wrong, const std::vector<std::string>& known) {
  constexpr std::size_t few = 8;
  if (known.size() <= few) return listed(known, "and");
  const std::vector<std::string> near = nearest(wrong, known);
  if (!near.empty()) return listed(near, "and") + " are the nearest";
  return listed({known.begin(), known.begin() + few}, "and") + " among others";
}

FlatGraph flatten(const Document& document, const Catalogue& catalogue, const CheckOptions& options,
                  ProblemList& problems) {
  return Flattener(document, catalogue, options, problems).whole();
}

FlatGraph flatten_subgraph(const Document& document, const Catalogue& catalogue,
                           const Subgraph& subgraph, const Json& parameters,
                           const std::string& prefix, ProblemList& problems) {
  return Flattener(document, catalogue, {.files = false}, problems)
      .only(subgraph, parameters, prefix);
}

Flattener::Flattener(const Document& document, const Catalogue& catalogue,
                     const CheckOptions& options, ProblemList& problems)
    : document_(document), catalogue_(catalogue), options_(options), problems_(problems) {
  graph_.document = &document;
  graph_.catalogue = &catalogue;
  for (const Subgraph& subgraph : document.subgraphs) subgraphs_.emplace(subgraph.name, &subgraph);
}

FlatGraph Flattener::whole() {
  check_settings();
  graph_.levels.emplace_back();
  FlatInstance main;
  main.nodes = &document_.nodes;
  main.parameters = document_.parameters;
  graph_.nodes.reserve(document_.nodes.size());
  graph_.slots.reserve(2 * document_.nodes.size());
  instantiate(std::move(main));
  add_unused_subgraphs();
  connect();
  check_unused_parameters();
  return std::move(graph_);
}

FlatGraph Flattener::only(const Subgraph& subgraph, const Json& parameters,
                          const std::string& prefix) {
  FlatLevel level;
  level.subgraph = &subgraph;
  graph_.levels.push_back(level);
  FlatInstance instance;
  instance.nodes = &subgraph.nodes;
  instance.subgraph = &subgraph;
  instance.prefix = prefix.empty() ? "" : prefix + "/";
  instance.parameters = promoted(subgraph, parameters, prefix, 0, nullptr);
  instantiate(std::move(instance));
  connect();
  return std::move(graph_);
}

void Flattener::add_unused_subgraphs() {
  for (const Subgraph& subgraph : document_.subgraphs) {
    if (used_subgraphs_.contains(&subgraph)) continue;
    const std::string name = "subgraph." + subgraph.name;
    ++order_;
    report(order_, name, "", "unused-subgraph", "no node is an instance of this subgraph",
           fmt::format("use it (\"type\": \"{}\"), or remove it", name), nullptr,
           Severity::warning);
    FlatLevel level;
    level.subgraph = &subgraph;
    level.instance = static_cast<int>(graph_.instances.size());
    graph_.levels.push_back(level);
    FlatInstance instance;
    instance.nodes = &subgraph.nodes;
    instance.subgraph = &subgraph;
    instance.level = static_cast<int>(graph_.levels.size()) - 1;
    instance.prefix = name + "/";
    instance.order = order_;
    instance.parameters = subgraph.parameters;
    used_subgraphs_.insert(&subgraph);
    instantiate(std::move(instance));
  }
}

int Flattener::instantiate(FlatInstance instance) {
  const int id = static_cast<int>(graph_.instances.size());
  instance.members.resize(instance.nodes->size());
  graph_.instances.push_back(std::move(instance));
  const FlatInstance& placed = graph_.instances.back();
  FlatLevel& level = graph_.levels[static_cast<std::size_t>(placed.level)];
  const bool outermost = placed.parent < 0 || placed.container >= 0;
  if (outermost) level.instance = id;
  if (outermost && placed.container < 0 && placed.subgraph != nullptr) {
    auto& ports = graph_.owned_ports.emplace_back();
    for (const auto& [name, type] : placed.subgraph->inputs) {
      ports.push_back({.name = name, .type = type});
    }
    for (std::size_t i = 0; i < ports.size(); ++i) {
      level.outside_slots.push_back(static_cast<int>(graph_.slots.size()));
      graph_.slots.push_back({-1, static_cast<int>(i), &ports[i], false, {}});
    }
  }
  for (std::size_t i = 0; i < placed.nodes->size(); ++i) add_member(id, i);
  return id;
}

void Flattener::add_member(int instance, std::size_t index) {
  const FlatInstance& owner = graph_.instances[static_cast<std::size_t>(instance)];
  const GraphNode& node = (*owner.nodes)[index];
  ++order_;
  check_name(owner, node);
  if (const auto name = node.subgraph()) {
    const Subgraph* const subgraph = find_subgraph(*name);
    if (subgraph != nullptr) {
      const bool fits = !recursive(instance, *subgraph, node) && !too_many(instance, node);
      if (fits) add_instance_of(instance, index, *subgraph);
      return;
    }
    std::vector<std::string> known;
    for (const Subgraph& s : document_.subgraphs) known.push_back("subgraph." + s.name);
    report(order_, owner.prefix + node.name, "", "unknown-type",
           fmt::format("there is no subgraph \"{}\" in this file", *name),
           known.empty() ? "the file has no subgraphs"
                         : "its subgraphs are " + known_names(node.type, known),
           &node);
    return;
  }
  const NodeDeclaration* const type = catalogue_.node(node.type);
  if (type == nullptr) {
    const std::vector<std::string> near = nearest(node.type, catalogue_.node_ids());
    report(order_, owner.prefix + node.name, "", "unknown-type",
           node.type.empty() ? std::string("the node has no type")
                             : fmt::format("there is no node type \"{}\"", node.type),
           near.empty() ? "rewardloom nodes lists all node types" : "did you mean " + listed(near),
           &node);
  }
  add_flat(instance, index, type);
}

void Flattener::check_name(const FlatInstance& instance, const GraphNode& node) {
  if (!is_name(node.name)) {
    report(order_, instance.prefix + node.name, "", "bad-name",
           fmt::format("\"{}\" is no name for a node", node.name), "use letters, digits, _ and -",
           &node);
  } else if (node.name == "inputs") {
    report(order_, instance.prefix + node.name, "", "bad-name",
           "\"inputs\" stands for the inputs of a subgraph", "give the node another name", &node);
  }
}

const Subgraph* Flattener::find_subgraph(std::string_view name) const {
  const auto it = subgraphs_.find(name);
  return it == subgraphs_.end() ? nullptr : it->second;
}

bool Flattener::too_many(int instance, const GraphNode& node) {
  constexpr std::size_t most = 100'000;
  if (graph_.nodes.size() < most) return false;
  if (told_too_many_) return true;
  told_too_many_ = true;
  const FlatInstance& owner = graph_.instances[static_cast<std::size_t>(instance)];
  report(order_, owner.prefix + node.name, "", "too-many-nodes",
         fmt::format("with its subgraphs put in place the graph has more than {} nodes", most),
         "use subgraphs within subgraphs less often, or a container that repeats one");
  return true;
}

bool Flattener::recursive(int instance, const Subgraph& subgraph, const GraphNode& node) {
  std::vector<std::string> chain = {subgraph.name};
  for (int i = instance; i >= 0; i = graph_.instances[static_cast<std::size_t>(i)].parent) {
    const FlatInstance& around = graph_.instances[static_cast<std::size_t>(i)];
    if (around.subgraph == nullptr) return false;
    chain.push_back(around.subgraph->name);
    if (around.subgraph != &subgraph) continue;
    std::reverse(chain.begin(), chain.end());
    const FlatInstance& owner = graph_.instances[static_cast<std::size_t>(instance)];
    used_subgraphs_.insert(&subgraph);
    report(order_, owner.prefix + node.name, "", "subgraph-recursion",
           fmt::format("the subgraph contains itself: {}", fmt::join(chain, " -> ")),
           "for a loop put a container around the subgraph", &node);
    return true;
  }
  return false;
}

void Flattener::add_instance_of(int instance, std::size_t index, const Subgraph& subgraph) {
  const FlatInstance& owner = graph_.instances[static_cast<std::size_t>(instance)];
  const GraphNode& node = (*owner.nodes)[index];
  const std::string name = owner.prefix + node.name;
  used_subgraphs_.insert(&subgraph);
  const Json* const given = resolved_params(owner, node, name, order_, nullptr);
  FlatInstance child;
  child.nodes = &subgraph.nodes;
  child.subgraph = &subgraph;
  child.parent = instance;
  child.parent_node = &node;
  child.level = owner.level;
  child.order = order_;
  child.prefix = name + "/";
  child.parameters = promoted(subgraph, *given, name, order_, &node);
  const int id = instantiate(std::move(child));
  graph_.instances[static_cast<std::size_t>(instance)].members[index].child = id;
}

void Flattener::add_flat(int instance, std::size_t index, const NodeDeclaration* type) {
  static const std::vector<PortDeclaration> no_ports;
  FlatInstance& owner = graph_.instances[static_cast<std::size_t>(instance)];
  const GraphNode& graph_node = (*owner.nodes)[index];
  const int flat = static_cast<int>(graph_.nodes.size());
  owner.members[index].flat = flat;
  graph_.levels[static_cast<std::size_t>(owner.level)].nodes.push_back(flat);
  FlatNode& node = graph_.nodes.emplace_back();
  node.name = owner.prefix + graph_node.name;
  node.order = order_;
  node.level = owner.level;
  node.instance = instance;
  node.graph = &graph_node;
  node.type = type;
  node.inputs = type == nullptr ? &no_ports : &type->inputs;
  node.outputs = type == nullptr ? &no_ports : &type->outputs;
  node.gold = graph_node.role == "gold";
  for (const FlatInstance* i = &owner; !node.gold && i->parent_node != nullptr;
       i = &graph_.instances[static_cast<std::size_t>(i->parent)]) {
    node.gold = i->parent_node->role == "gold";
  }
  node.params = resolved_params(owner, graph_node, node.name, order_, type);
  if (type == nullptr) return;
  check_params(node);
  if (node.container()) {
    add_bodies(flat);
    derive_ports(flat);
  }
  FlatNode& placed = graph_.nodes[static_cast<std::size_t>(flat)];
  placed.first_slot = static_cast<int>(graph_.slots.size());
  for (std::size_t i = 0; i < placed.outputs->size(); ++i) {
    graph_.slots.push_back({flat, static_cast<int>(i), &(*placed.outputs)[i], false, {}});
  }
}

void Flattener::report(int order, const std::string& node, const std::string& port,
                       std::string code, std::string text, std::string help, const void* once,
                       Severity severity) {
  if (severity == Severity::error && concerns_wiring(code)) graph_.wiring_is_sound = false;
  problems_.add(ProblemList::nodes, order,
                Problem{severity,
                        std::move(code),
                        {document_.file, node, port},
                        std::move(text),
                        std::move(help),
                        {}},
                once);
}

}  // namespace rewardloom
