// Checks of where rewards come from: the model that scored them, the prompts that were answered,
// and noise put on them.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "engine/graph/graph_checks.h"

namespace rewardloom {
namespace {

// ---- scorers ----

/// The models that scored a value, and the output that came of it. None: it is not known.
struct Scorer {
  std::vector<int> handles;  ///< ascending
  int origin = -1;
};

/// A node that reads models and is given no rewards scores with them; one that is given rewards of
/// a single scorer passes them on.
class ScorerFinder {
 public:
  explicit ScorerFinder(const CheckedGraph& checked)
      : checked_(checked), graph_(checked.graph), scorers_(checked.graph.slots.size()) {
    for (const int id : checked.flow.order) visit(graph_.nodes[at(id)]);
  }
  const Scorer& of(int slot) const { return scorers_[at(slot)]; }

  /// Of everything on a port; nothing if edges differ or one is unknown.
  Scorer of(const FlatNode& node, std::size_t port) const {
    Scorer out;
    for (const FlatEdge& edge : node.edges[port]) {
      if (edge.slot < 0) return {};
      const Scorer& here = of(edge.slot);
      if (here.handles.empty() || (!out.handles.empty() && out.handles != here.handles)) return {};
      out = here;
    }
    return out;
  }

 private:
  static bool is_reward(const PortDeclaration& port) { return port.type == "Rewards"; }

  void visit(const FlatNode& node) {
    if (node.type == nullptr) return;
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int slot = node.slot(o);
      const auto& aliases = graph_.slots[at(slot)].aliases;
      if (!aliases.empty()) {
        scorers_[at(slot)] = scorers_[at(aliases.front())];
      } else if (is_reward((*node.outputs)[o]) && !node.container()) {
        scorers_[at(slot)] = scorer_of(node, slot);
      }
    }
  }

  Scorer scorer_of(const FlatNode& node, int slot) const {
    std::optional<Scorer> passed;
    std::vector<int> read;
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      const PortDeclaration& port = (*node.inputs)[p];
      if (is_reward(port) && !node.edges[p].empty()) {
        const Scorer here = of(node, p);
        if (passed && passed->handles != here.handles) return {};
        passed = here;
      }
      if (port.access != Access::read) continue;
      for (const FlatEdge& edge : node.edges[p]) {
        const int handle = edge.slot < 0 ? -1 : checked_.flow.slot_handle[at(edge.slot)];
        if (handle >= 0) read.push_back(handle);
      }
    }
    if (passed) return *passed;
    std::sort(read.begin(), read.end());
    return {read, read.empty() ? -1 : slot};
  }

  const CheckedGraph& checked_;
  const FlatGraph& graph_;
  std::vector<Scorer> scorers_;
};

/// The port of that name, or nothing.
std::optional<std::size_t> port_called(const FlatNode& node, const std::string& name) {
  for (std::size_t p = 0; p < node.inputs->size(); ++p) {
    if ((*node.inputs)[p].name == name) return p;
  }
  return std::nullopt;
}

std::string names_of(const CheckedGraph& checked, const Scorer& scorer) {
  std::vector<std::string> names;
  for (const int handle : scorer.handles) names.push_back(checked.flow.handles[at(handle)].name);
  return fmt::format("{}", fmt::join(names, ", "));
}

void check_scorer(const CheckedGraph& checked, const ScorerFinder& scorers, const FlatNode& node,
                  std::size_t port, const std::string& other) {
  const auto there = port_called(node, other);
  if (!there) return;
  const Scorer own = scorers.of(node, port), wanted = scorers.of(node, *there);
  if (own.handles.empty() || wanted.handles.empty() || own.handles == wanted.handles) return;
  const std::string& name = (*node.inputs)[port].name;
  checked.report(
      node, name, "other-reward-model",
      fmt::format("{} is scored with {} (by {}), but {} with {} (by {}): numbers of two "
                  "reward models cannot be compared",
                  name, names_of(checked, own), checked.graph.slot_name(own.origin), other,
                  names_of(checked, wanted), checked.graph.slot_name(wanted.origin)),
      fmt::format("score both with {}", names_of(checked, wanted)));
}

// ---- prompts ----

/// Outputs that give prompts which no other prompts went into, and for every slot the one that its
/// rows answer. -1: none, several, or not known.
class PromptFinder {
 public:
  explicit PromptFinder(const CheckedGraph& checked)
      : graph_(checked.graph), prompts_(checked.graph.slots.size(), -1) {
    for (const int id : checked.flow.order) visit(graph_.nodes[at(id)]);
  }

  /// Of everything on a port.
  int of(const FlatNode& node, std::size_t port) const {
    int found = -1;
    for (const FlatEdge& edge : node.edges[port]) {
      if (edge.slot < 0 || !agrees(prompts_[at(edge.slot)], found)) return -1;
    }
    return found;
  }

 private:
  static bool agrees(int slot, int& found) {
    if (slot < 0 || (found >= 0 && found != slot)) return false;
    found = slot;
    return true;
  }

  void visit(const FlatNode& node) {
    if (node.type == nullptr) return;
    const int passed = passed_on(node);
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int slot = node.slot(o);
      const auto& aliases = graph_.slots[at(slot)].aliases;
      if (!aliases.empty()) {
        prompts_[at(slot)] = prompts_[at(aliases.front())];
      } else if (!graph_.is_handle(slot) && !node.container()) {
        const bool source = passed == kNone && (*node.outputs)[o].type == "Prompts";
        prompts_[at(slot)] = source ? slot : std::max(passed, -1);
      }
    }
  }

  /// What the node's inputs answer: kNone where it has none but handles and data sets.
  int passed_on(const FlatNode& node) const {
    int found = -1;
    bool any = false;
    for (const auto& edges : node.edges) {
      for (const FlatEdge& edge : edges) {
        if (edge.slot < 0) return -1;
        if (graph_.is_handle(edge.slot) || edge.type == "Dataset") continue;
        any = true;
        const int here = prompts_[at(edge.slot)];
        if (here >= 0 && !agrees(here, found)) return -1;
      }
    }
    return any ? found : kNone;
  }

  static constexpr int kNone = -2;
  const FlatGraph& graph_;
  std::vector<int> prompts_;
};

void check_prompts(const CheckedGraph& checked, const PromptFinder& prompts, const FlatNode& node,
                   std::size_t port, const std::string& other) {
  const auto there = port_called(node, other);
  if (!there) return;
  const int own = prompts.of(node, port), wanted = prompts.of(node, *there);
  if (own < 0 || wanted < 0) return;
  // Two outputs of one node may be two forms of the same rows.
  if (checked.graph.slots[at(own)].node == checked.graph.slots[at(wanted)].node) return;
  const std::string& name = (*node.inputs)[port].name;
  checked.report(
      node, name, "other-prompts",
      fmt::format("{} belongs to answers to {}, but {} to answers to {}: group ids count "
                  "the prompts of each apart, so equal ids would be other prompts",
                  name, checked.graph.slot_name(own), other, checked.graph.slot_name(wanted)),
      fmt::format("sample both from {}", checked.graph.slot_name(wanted)));
}

// ---- noise ----

/// Follows what is computed from an output with the fact `noisy` to nodes that evaluate.
class NoiseCheck {
 public:
  explicit NoiseCheck(const CheckedGraph& checked) : checked_(checked), graph_(checked.graph) {}

  void run() {
    for (std::size_t s = 0; s < graph_.slots.size(); ++s) {
      const FlatSlot& slot = graph_.slots[s];
      if (slot.node >= 0 && slot.aliases.empty() && slot.declaration->facts.contains(kNoisyFact)) {
        follow(static_cast<int>(s));
      }
    }
  }

 private:
  void follow(int source) {
    std::vector<bool> seen(graph_.slots.size(), false);
    std::vector<int> slots = {source};
    while (!slots.empty()) {
      const int slot = slots.back();
      slots.pop_back();
      if (seen[at(slot)]) continue;
      seen[at(slot)] = true;
      for (const int outer : checked_.alias_of[at(slot)]) slots.push_back(outer);
      for (const int reader : checked_.readers[at(slot)]) enter(reader, slot, source, slots);
    }
  }

  void enter(int id, int slot, int source, std::vector<int>& slots) const {
    const FlatNode& node = graph_.nodes[at(id)];
    if (node.type == nullptr || node.type->traits.trains || node.container()) return;
    if (node.type->traits.evaluates) return report(node, slot, source);
    for (std::size_t o = 0; o < node.outputs->size(); ++o) {
      const int output = node.slot(o);
      const std::string& type = (*node.outputs)[o].type;
      const bool carries = type == "Rewards" || type == "TokenRewards" || type == "Values";
      if (carries && graph_.slots[at(output)].aliases.empty()) slots.push_back(output);
    }
  }

  /// One that is given clean rewards as well measures the noise.
  void report(const FlatNode& node, int slot, int source) const {
    std::string port;
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      for (const FlatEdge& edge : node.edges[p]) {
        if (edge.slot == slot && edge.type == "Rewards") port = (*node.inputs)[p].name;
      }
    }
    if (port.empty() || compares(node, slot)) return;
    const std::string origin = graph_.slot_name(source);
    checked_.report(node, port, "noisy-evaluation",
                    fmt::format("evaluates with {}, rewards with noise put on them: the result "
                                "would say how noisy they are, not how good the model is",
                                origin),
                    fmt::format("evaluate with the rewards that go into {}",
                                graph_.nodes[at(graph_.slots[at(source)].node)].name));
  }

  bool compares(const FlatNode& node, int noisy) const {
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      for (const FlatEdge& edge : node.edges[p]) {
        if (edge.slot >= 0 && edge.slot != noisy && edge.type == "Rewards") return true;
      }
    }
    return false;
  }

  const CheckedGraph& checked_;
  const FlatGraph& graph_;
};

}  // namespace

void check_rewards(const CheckedGraph& checked) {
  const ScorerFinder scorers(checked);
  const PromptFinder prompts(checked);
  for (const FlatNode& node : checked.graph.nodes) {
    if (node.type == nullptr) continue;
    for (std::size_t p = 0; p < node.edges.size(); ++p) {
      const Json& needs = (*node.inputs)[p].needs;
      const auto need = needs.find(kScorerNeed);
      if (need != needs.end()) check_scorer(checked, scorers, node, p, *need);
      const auto same = needs.find(kPromptsNeed);
      if (same != needs.end()) check_prompts(checked, prompts, node, p, *same);
    }
  }
  NoiseCheck(checked).run();
}

}  // namespace rewardloom
