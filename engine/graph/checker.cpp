#include "engine/graph/checker.h"

#include <algorithm>
#include <iterator>

#include "engine/graph/active_nodes.h"
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

namespace {

CheckResult check_active(const Document& document, const Catalogue& catalogue,
                         const CheckOptions& options, bool whole) {
  ProblemList problems;
  const FlatGraph graph = flatten(document, catalogue, options, problems);
  const Flow flow = find_flow(graph, problems);
  const CheckedGraph checked(graph, flow, problems);
  check_sizes(checked);
  check_facts(checked);
  check_scales(checked);
  check_rewards(checked);
  check_gold(checked);
  check_losses(checked);
  check_co_training(checked);
  check_rules(checked);
  // A wrong edge makes much look unused that is not.
  // So does a part that is muted.
  const bool sound = graph.wiring_is_sound && !has_errors(document.reading_problems());
  if (whole && sound) check_use(checked);
  check_placement(checked);
  add_reading_problems(graph, problems);
  return {std::move(problems).sorted()};
}

}  // namespace

CheckResult check(const Document& document, const Catalogue& catalogue,
                  const CheckOptions& options) {
  if (!has_modes(document)) return check_active(document, catalogue, options, true);
  CheckResult result;
  const Document active = active_part(document, catalogue, result.problems);
  std::vector<Problem> others = check_active(active, catalogue, options, false).problems;
  std::move(others.begin(), others.end(), std::back_inserter(result.problems));
  return result;
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
      "bypass-no-input",
      "bypassed",
      "container-port",
      "cycle",
      "dead-node",
      "double-normalisation",
      "duplicate-key",
      "duplicate-value",
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
      "mixed-scales",
      "muted",
      "nested-reference",
      "no-path-to-model",
      "noisy-evaluation",
      "options",
      "other-prompts",
      "other-reward-model",
      "param-choice",
      "param-range",
      "param-type",
      "scored-model",
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
