// A model that learns beside a policy, while another one of its kind gives that policy its rewards.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/graph/graph_checks.h"

namespace rewardloom {
namespace {

/// A node's use of one piece of state.
struct HandlePort {
  std::string port;
  std::string type;
  int handle = -1;
};

class CoTrainingCheck {
 public:
  CoTrainingCheck(const CheckedGraph& checked, int level)
      : checked_(checked), graph_(checked.graph), level_(level) {}

  void run() {
    for (const int id : graph_.levels[at(level_)].nodes) {
      if (trains(id)) optimizers_.push_back(id);
    }
    if (optimizers_.size() < 2 || !trains_a_scorer()) return;
    for (const HandleUse& use : checked_.flow.levels[at(level_)].handles) {
      for (const int writer : use.writers) {
        if (trains(writer)) look(writer, use.readers);
      }
    }
  }

 private:
  const FlatNode& node(int id) const { return graph_.nodes[at(id)]; }
  bool trains(int id) const { return node(id).type != nullptr && node(id).type->traits.trains; }

  std::vector<HandlePort> ports(int id, Access access) const {
    std::vector<HandlePort> out;
    const FlatNode& user = node(id);
    for (std::size_t p = 0; p < user.edges.size(); ++p) {
      const PortDeclaration& port = (*user.inputs)[p];
      if (port.access != access) continue;
      for (const FlatEdge& edge : user.edges[p]) {
        const int handle = edge.slot < 0 ? -1 : checked_.flow.slot_handle[at(edge.slot)];
        if (handle >= 0) out.push_back({port.name, port.type, handle});
      }
    }
    return out;
  }

  /// The nodes of this level that values of `start` reach, without it.
  std::set<int> downstream(int start) const {
    std::set<int> reached;
    std::vector<int> todo = {start};
    while (!todo.empty()) {
      const FlatNode& from = node(todo.back());
      todo.pop_back();
      for (std::size_t o = 0; o < from.outputs->size(); ++o) {
        const int slot = from.slot(o);
        if (graph_.is_handle(slot)) continue;
        for (const int reader : checked_.readers[at(slot)]) {
          if (node(reader).level == level_ && reached.insert(reader).second) todo.push_back(reader);
        }
      }
    }
    return reached;
  }

  bool gives_rewards(int id) const {
    const auto& outputs = *node(id).outputs;
    return !trains(id) && std::any_of(outputs.begin(), outputs.end(),
                                      [](const auto& port) { return port.type == "Rewards"; });
  }

  /// Whether an optimizer here trains a kind of model that gives rewards here.
  bool trains_a_scorer() const {
    std::set<std::string> scoring;
    for (const int id : graph_.levels[at(level_)].nodes) {
      if (!gives_rewards(id)) continue;
      for (const HandlePort& port : ports(id, Access::read)) scoring.insert(port.type);
    }
    if (scoring.empty()) return false;
    for (const int id : optimizers_) {
      for (const HandlePort& port : ports(id, Access::write)) {
        if (scoring.contains(port.type)) return true;
      }
    }
    return false;
  }

  /// What samples with the model that `policy` trains is scored for it; who else learns from that?
  void look(int policy, const std::vector<int>& readers) {
    for (const int sampler : readers) {
      if (trains(sampler)) continue;
      const std::set<int> rollouts = downstream(sampler);
      if (rollouts.contains(policy)) compare(policy, rollouts);
    }
  }

  void compare(int policy, const std::set<int>& rollouts) {
    std::vector<int> scorers;
    std::set<int> used;
    for (const int id : rollouts) {
      if (!gives_rewards(id) || !downstream(id).contains(policy)) continue;
      scorers.push_back(id);
      for (const HandlePort& port : ports(id, Access::read)) used.insert(port.handle);
    }
    for (const int learner : optimizers_) {
      if (learner == policy || !rollouts.contains(learner)) continue;
      for (const HandlePort& port : ports(learner, Access::write)) {
        if (used.contains(port.handle)) continue;
        for (const int scorer : scorers) report(learner, port, scorer);
      }
    }
  }

  bool is_trained(int handle) const {
    for (const int id : optimizers_) {
      for (const HandlePort& port : ports(id, Access::write)) {
        if (port.handle == handle) return true;
      }
    }
    return false;
  }

  void report(int learner, const HandlePort& learnt, int scorer) {
    for (const HandlePort& scored : ports(scorer, Access::read)) {
      if (scored.type != learnt.type || is_trained(scored.handle)) continue;
      if (!told_.insert({learner, scorer}).second) continue;
      const std::string& own = checked_.flow.handles[at(learnt.handle)].name;
      const std::string& other = checked_.flow.handles[at(scored.handle)].name;
      checked_.report(
          node(learner), learnt.port, "scored-model",
          fmt::format("trains {} on rollouts that {} scores with {}: what is learnt here never "
                      "gives a reward",
                      own, node(scorer).name, other),
          fmt::format("connect {} and {}.{} to the same model if the two are to train each other",
                      node(learner).name + "." + learnt.port, node(scorer).name, scored.port),
          Severity::warning);
    }
  }

  const CheckedGraph& checked_;
  const FlatGraph& graph_;
  const int level_;
  std::vector<int> optimizers_;
  std::set<std::pair<int, int>> told_;
};

}  // namespace

void check_co_training(const CheckedGraph& checked) {
  for (std::size_t level = 0; level < checked.graph.levels.size(); ++level) {
    CoTrainingCheck(checked, static_cast<int>(level)).run();
  }
}

}  // namespace rewardloom
