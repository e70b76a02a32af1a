#include "engine/graph/flow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/strong_components.hpp>
#include <deque>
#include <map>
#include <queue>
#include <set>

namespace rewardloom {
namespace {

using Successors = std::vector<std::vector<int>>;

/// Positions in an order that respects the edges, the first in the file first; nodes that are in a
/// cycle or behind one are missing.
std::vector<int> topological_order(const Successors& successors) {
  std::vector<int> pending(successors.size(), 0);
  for (const auto& next : successors) {
    for (const int to : next) ++pending[at(to)];
  }
  std::priority_queue<int, std::vector<int>, std::greater<>> ready;
  for (std::size_t i = 0; i < pending.size(); ++i) {
    if (pending[i] == 0) ready.push(static_cast<int>(i));
  }
  std::vector<int> order;
  order.reserve(successors.size());
  while (!ready.empty()) {
    const int node = ready.top();
    ready.pop();
    order.push_back(node);
    for (const int to : successors[at(node)]) {
      if (--pending[at(to)] == 0) ready.push(to);
    }
  }
  return order;
}

/// The strong component of each position.
std::vector<int> components_of(const Successors& successors) {
  boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS> graph(successors.size());
  for (std::size_t from = 0; from < successors.size(); ++from) {
    for (const int to : successors[from]) boost::add_edge(from, at(to), graph);
  }
  std::vector<int> component(successors.size());
  boost::strong_components(
      graph, boost::make_iterator_property_map(component.begin(), get(boost::vertex_index, graph)));
  return component;
}

/// The shortest way from `from` to `to` within one strong component, both ends included.
std::vector<int> way(const Successors& successors, const std::vector<int>& component, int from,
                     int to) {
  std::vector<int> previous(successors.size(), -1);
  std::deque<int> queue = {from};
  while (!queue.empty()) {
    const int node = queue.front();
    queue.pop_front();
    for (const int next : successors[at(node)]) {
      if (component[at(next)] != component[at(from)] || previous[at(next)] >= 0) continue;
      previous[at(next)] = node;
      if (next == to) {
        std::vector<int> path = {to};
        for (int n = node; n != from; n = previous[at(n)]) path.push_back(n);
        path.push_back(from);
        std::reverse(path.begin(), path.end());
        return path;
      }
      queue.push_back(next);
    }
  }
  return {};
}

class FlowFinder {
 public:
  FlowFinder(const FlatGraph& graph, ProblemList& problems) : graph_(graph), problems_(problems) {}

  Flow find() {
    flow_.levels.resize(graph_.levels.size());
    flow_.position.resize(graph_.nodes.size());
    flow_.slot_handle.assign(graph_.slots.size(), -1);
    visited_.assign(graph_.slots.size(), false);
    for (std::size_t s = 0; s < graph_.slots.size(); ++s) handle_of(static_cast<int>(s));
    for (std::size_t level = 0; level < graph_.levels.size(); ++level) find_level(level);
    for (std::size_t level = 0; level < graph_.levels.size(); ++level) {
      if (graph_.levels[level].container < 0) append_order(level);
    }
    return std::move(flow_);
  }

 private:
  const FlatNode& node(int flat) const { return graph_.nodes[at(flat)]; }
  int flat(std::size_t level, int position) const {
    return graph_.levels[level].nodes[at(position)];
  }

  void report(const FlatNode& where, const std::string& port, const char* code, std::string text,
              std::string help) {
    problems_.add(ProblemList::nodes, where.order,
                  Problem{Severity::error,
                          code,
                          {graph_.document->file, where.name, port},
                          std::move(text),
                          std::move(help),
                          {}},
                  where.graph);
  }

  int handle_of(int slot) {
    if (slot < 0 || !graph_.is_handle(slot)) return -1;
    int& handle = flow_.slot_handle[at(slot)];
    if (handle >= 0 || visited_[at(slot)]) return handle;
    visited_[at(slot)] = true;
    const FlatSlot& s = graph_.slots[at(slot)];
    if (!s.aliases.empty()) {
      handle = handle_of(s.aliases.front());
    } else if (s.node >= 0 && !s.declaration->same_as.empty()) {
      const FlatNode& owner = node(s.node);
      for (std::size_t p = 0; p < owner.inputs->size(); ++p) {
        if ((*owner.inputs)[p].name != s.declaration->same_as || owner.edges[p].empty()) continue;
        handle = handle_of(owner.edges[p].front().slot);
      }
    }
    if (handle < 0) {
      handle = static_cast<int>(flow_.handles.size());
      flow_.handles.push_back({graph_.slot_name(slot), s.declaration->type, slot});
    }
    return handle;
  }

  void find_level(std::size_t level) {
    LevelFlow& flow = flow_.levels[level];
    const std::vector<int>& nodes = graph_.levels[level].nodes;
    flow.successors.resize(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      flow_.position[at(nodes[i])] = static_cast<int>(i);
    }
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      for (const auto& edges : node(nodes[i]).edges) {
        for (const FlatEdge& edge : edges) add_value_edge(level, edge, static_cast<int>(i));
      }
    }
    flow.order = topological_order(flow.successors);
    if (flow.order.size() < nodes.size()) {
      report_cycles(level);
      return complete(flow);
    }
    find_handles(level);
    order_handles(level);
  }

  void add_value_edge(std::size_t level, const FlatEdge& edge, int to) {
    if (edge.slot < 0) return;
    const int producer = graph_.slots[at(edge.slot)].node;
    if (producer < 0 || node(producer).level != static_cast<int>(level)) return;
    // All edges to one node are added in a row, so an equal one is the last.
    auto& next = flow_.levels[level].successors[at(flow_.position[at(producer)])];
    if (next.empty() || next.back() != to) next.push_back(to);
  }

  static bool add_edge(Successors& successors, int from, int to) {
    auto& next = successors[at(from)];
    if (std::find(next.begin(), next.end(), to) != next.end()) return false;
    next.push_back(to);
    return true;
  }

  /// The nodes that a cycle keeps out of the order follow in the order of the file.
  static void complete(LevelFlow& flow) {
    std::vector<bool> seen(flow.successors.size(), false);
    for (const int p : flow.order) seen[at(p)] = true;
    for (std::size_t p = 0; p < seen.size(); ++p) {
      if (!seen[p]) flow.order.push_back(static_cast<int>(p));
    }
  }

  std::string names(std::size_t level, const std::vector<int>& path) const {
    std::vector<std::string> out;
    for (const int p : path) out.push_back(node(flat(level, p)).name);
    return fmt::format("{}", fmt::join(out, " -> "));
  }

  void report_cycles(std::size_t level) {
    const LevelFlow& flow = flow_.levels[level];
    const std::vector<int> component = components_of(flow.successors);
    std::vector<bool> told(flow.successors.size(), false);
    for (std::size_t p = 0; p < flow.successors.size(); ++p) {
      if (told[at(component[p])]) continue;
      const int start = static_cast<int>(p);
      const std::vector<int> path = way(flow.successors, component, start, start);
      if (path.empty()) continue;
      told[at(component[p])] = true;
      const FlatNode& first = node(flat(level, start));
      report(
          first, port_from(first, flat(level, path[path.size() - 2])), "cycle",
          fmt::format("goes in a circle: {}", names(level, path)),
          "what lasts from one iteration to the next is kept in a handle, buffer or delay, not by "
          "an edge");
    }
  }

  std::string port_from(const FlatNode& to, int from) const {
    for (std::size_t p = 0; p < to.edges.size(); ++p) {
      for (const FlatEdge& edge : to.edges[p]) {
        if (edge.slot >= 0 && graph_.slots[at(edge.slot)].node == from) return (*to.inputs)[p].name;
      }
    }
    return {};
  }

  void find_handles(std::size_t level) {
    LevelFlow& flow = flow_.levels[level];
    std::map<int, HandleUse> uses;
    for (const int p : flow.order) {
      const int id = flat(level, p);
      const FlatNode& user = node(id);
      for (std::size_t port = 0; port < user.edges.size(); ++port) {
        for (const FlatEdge& edge : user.edges[port]) {
          const int handle = edge.slot < 0 ? -1 : flow_.slot_handle[at(edge.slot)];
          if (handle < 0) continue;
          HandleUse& use = uses[handle];
          use.handle = handle;
          const bool writes = (*user.inputs)[port].access == Access::write;
          auto& list = writes ? use.writers : use.readers;
          if (list.empty() || list.back() != id) list.push_back(id);
        }
      }
    }
    for (auto& [handle, use] : uses) flow.handles.push_back(std::move(use));
  }

  void order_handles(std::size_t level) {
    LevelFlow& flow = flow_.levels[level];
    const Successors values = flow.successors;
    rank_.assign(flow.order.size(), 0);
    for (std::size_t i = 0; i < flow.order.size(); ++i)
      rank_[at(flow.order[i])] = static_cast<int>(i);
    label_.assign(flow.order.size(), -1);
    next_label_ = 0;
    std::vector<int> order_handle;  // the handle behind each order edge
    for (const HandleUse& use : flow.handles) {
      if (use.writers.empty()) continue;
      label_downstream(values, use);
      for (std::size_t w = 0; w + 1 < use.writers.size(); ++w) {
        if (last_writer_before(use.writers[w + 1]) == static_cast<int>(w)) continue;
        report_two_writers(use, use.writers[w], use.writers[w + 1]);
      }
      for (const int reader : readers_only(use)) {
        const std::size_t next = static_cast<std::size_t>(last_writer_before(reader) + 1);
        if (next == use.writers.size()) continue;
        const int from = flow_.position[at(reader)];
        const int to = flow_.position[at(use.writers[next])];
        if (!add_edge(flow.successors, from, to)) continue;
        flow.order_edges.emplace_back(from, to);
        order_handle.push_back(use.handle);
      }
    }
    if (flow.order_edges.empty()) return;
    flow.order = topological_order(flow.successors);
    if (flow.order.size() == flow.successors.size()) return sort_uses(level);
    report_order_cycles(level, order_handle);
    complete(flow);
  }

  static std::vector<int> readers_only(const HandleUse& use) {
    const std::set<int> writers(use.writers.begin(), use.writers.end());
    std::vector<int> readers;
    for (const int reader : use.readers) {
      if (!writers.contains(reader)) readers.push_back(reader);
    }
    return readers;
  }

  int last_rank(const HandleUse& use) const {
    int last = 0;
    for (const int id : use.readers) last = std::max(last, rank_[at(flow_.position[at(id)])]);
    for (const int id : use.writers) last = std::max(last, rank_[at(flow_.position[at(id)])]);
    return last;
  }

  /// Labels what is downstream of each writer by values with the last such writer. Going backwards,
  /// what a later writer reaches needs no second visit: the earlier one reaches it through the
  /// later.
  void label_downstream(const Successors& values, const HandleUse& use) {
    first_label_ = next_label_;
    next_label_ += static_cast<int>(use.writers.size());
    const int last = last_rank(use);
    for (std::size_t w = use.writers.size(); w-- > 0;) {
      std::vector<int> stack = {flow_.position[at(use.writers[w])]};
      while (!stack.empty()) {
        const int p = stack.back();
        stack.pop_back();
        for (const int next : values[at(p)]) {
          if (label_[at(next)] >= first_label_ || rank_[at(next)] > last) continue;
          label_[at(next)] = first_label_ + static_cast<int>(w);
          stack.push_back(next);
        }
      }
    }
  }

  /// The position among the writers of the last one upstream of a node, or -1.
  int last_writer_before(int id) const {
    return std::max(label_[at(flow_.position[at(id)])] - first_label_, -1);
  }

  void sort_uses(std::size_t level) {
    LevelFlow& flow = flow_.levels[level];
    for (std::size_t i = 0; i < flow.order.size(); ++i)
      rank_[at(flow.order[i])] = static_cast<int>(i);
    const auto earlier = [&](int a, int b) {
      return rank_[at(flow_.position[at(a)])] < rank_[at(flow_.position[at(b)])];
    };
    for (HandleUse& use : flow.handles) {
      std::sort(use.readers.begin(), use.readers.end(), earlier);
      std::sort(use.writers.begin(), use.writers.end(), earlier);
    }
  }

  std::string port_to_handle(const FlatNode& user, int handle, bool writes) const {
    for (std::size_t p = 0; p < user.edges.size(); ++p) {
      if (((*user.inputs)[p].access == Access::write) != writes) continue;
      for (const FlatEdge& edge : user.edges[p]) {
        if (edge.slot >= 0 && flow_.slot_handle[at(edge.slot)] == handle)
          return (*user.inputs)[p].name;
      }
    }
    return {};
  }

  /// The output through which a node passes on a handle that it wrote.
  std::string passed_on(int id, int handle) const {
    const FlatNode& user = node(id);
    for (std::size_t o = 0; o < user.outputs->size(); ++o) {
      if (flow_.slot_handle[at(user.slot(o))] == handle) return graph_.slot_name(user.slot(o));
    }
    return {};
  }

  void report_two_writers(const HandleUse& use, int first, int second) {
    const std::string port = port_to_handle(node(second), use.handle, true);
    const std::string output = passed_on(first, use.handle);
    report(node(second), port, "two-writers",
           fmt::format("writes {}, and so does {}; neither runs after the other",
                       flow_.handles[at(use.handle)].name, node(first).name),
           output.empty()
               ? std::string("let the two take turns in the phases of a container")
               : fmt::format("connect {} to {}.{} to write after it, or let the two take turns in "
                             "phases",
                             output, node(second).name, port));
  }

  void report_order_cycles(std::size_t level, const std::vector<int>& order_handle) {
    const LevelFlow& flow = flow_.levels[level];
    const std::vector<int> component = components_of(flow.successors);
    std::vector<bool> told(flow.successors.size(), false);
    for (std::size_t e = 0; e < flow.order_edges.size(); ++e) {
      const auto [reader, writer] = flow.order_edges[e];
      const int in = component[at(reader)];
      if (in != component[at(writer)] || told[at(in)]) continue;
      told[at(in)] = true;
      std::vector<int> path = way(flow.successors, component, writer, reader);
      path.insert(path.begin(), reader);
      const FlatNode& where = node(flat(level, reader));
      const std::string writer_name = node(flat(level, writer)).name;
      const std::string output = passed_on(flat(level, writer), order_handle[e]);
      report(where, port_to_handle(where, order_handle[e], false), "handle-order",
             fmt::format(
                 "reads {} before {} writes it, but other handles order them the other way: {}",
                 flow_.handles[at(order_handle[e])].name, writer_name, names(level, path)),
             output.empty() ? std::string("let them take turns in the phases of a container")
                            : fmt::format("connect {} to read what {} wrote", output, writer_name));
    }
  }

  void append_order(std::size_t level) {
    for (const int p : flow_.levels[level].order) {
      const int id = flat(level, p);
      for (const int body : node(id).bodies) append_order(at(body));
      flow_.order.push_back(id);
    }
  }

  const FlatGraph& graph_;
  ProblemList& problems_;
  Flow flow_;
  std::vector<bool> visited_;
  std::vector<int> rank_;
  std::vector<int> label_;  // by position; labels of one handle start at first_label_
  int first_label_ = 0;
  int next_label_ = 0;
};

}  // namespace

Flow find_flow(const FlatGraph& graph, ProblemList& problems) {
  return FlowFinder(graph, problems).find();
}

}  // namespace rewardloom
