#include "engine/graph/checker.h"

#include <algorithm>

#include "engine/graph/flat.h"
#include "engine/graph/flow.h"
#include "engine/graph/graph_checks.h"

namespace rewardloom {
namespace {

std::size_t count(const std::vector<Problem>& problems, Severity severity) {
  return static_cast<std::size_t>(
      std::count_if(problems.begin(), problems.end(),
                    [&](const Problem& problem) { return problem.severity == severity; }));
}

bool has_errors(const std::vector<Problem>& problems) {
  return count(problems, Severity::error) > 0;
}

/// Problems found while reading stand where the part of the file stands that they are about.
void add_reading_problems(const FlatGraph& graph, ProblemList& problems) {
  for (const Problem& problem : graph.document->reading_problems()) {
    const std::string& name = problem.where.node;
    ProblemList::Section section = ProblemList::whole;
    int order = 0;
    if (name.starts_with("subgraph.")) {
      section = ProblemList::subgraphs;
    } else if (!name.empty()) {
      section = ProblemList::nodes;
      for (const FlatNode& node : graph.nodes) {
        if (node.name == name) order = node.order;
      }
    }
    problems.add(section, order, problem);
  }
}

}  // namespace

std::size_t CheckResult::errors() const { return count(problems, Severity::error); }
std::size_t CheckResult::warnings() const { return count(problems, Severity::warning); }

CheckResult check(const Document& document, const Catalogue& catalogue,
                  const CheckOptions& options) {
  ProblemList problems;
  const FlatGraph graph = flatten(document, catalogue, options, problems);
  const Flow flow = find_flow(graph, problems);
  const CheckedGraph checked(graph, flow, problems);
  check_sizes(checked);
  check_facts(checked);
  check_gold(checked);
  check_losses(checked);
  check_rules(checked);
  // A wrong edge makes much look unused that is not.
  if (graph.wiring_is_sound && !has_errors(document.reading_problems())) check_use(checked);
  check_placement(checked);
  add_reading_problems(graph, problems);
  return {std::move(problems).sorted()};
}

CheckResult check_file(const std::filesystem::path& path, const Catalogue& catalogue,
                       const CheckOptions& options) {
  try {
    return check(Document::load(path), catalogue, options);
  } catch (const Failure& failure) {
    return {{failure.problem()}};
  }
}

const std::vector<std::string>& check_codes() {
  static const std::vector<std::string> codes = {
      "access",
      "bad-name",
      "bad-reference",
      "container-port",
      "cycle",
      "dead-node",
      "duplicate-key",
      "format-version",
      "gold-to-loss",
      "group-size",
      "handle-order",
      "json-shape",
      "json-syntax",
      "loss-argument-missing",
      "missing-file",
      "missing-input",
      "missing-parameter",
      "no-path-to-model",
      "options",
      "param-choice",
      "param-range",
      "param-type",
      "size-mismatch",
      "subgraph-recursion",
      "too-few-inputs",
      "too-many-inputs",
      "too-many-nodes",
      "two-writers",
      "type-mismatch",
      "unknown-graph-parameter",
      "unknown-key",
      "unknown-node",
      "unknown-parameter",
      "unknown-placement",
      "unknown-port",
      "unknown-subgraph",
      "unknown-type",
      "unreachable-output",
      "unused-graph-parameter",
      "unused-rewards",
      "unused-subgraph",
  };
  return codes;
}

}  // namespace rewardloom
