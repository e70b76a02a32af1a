#include "nodes/reward/tree_values.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

void require_tree(const std::vector<std::int64_t>& parent,
                  const std::vector<std::uint8_t>& correct) {
  if (parent.size() != correct.size()) {
    throw Failure("bad-shape", fmt::format("there are {} parents, but correct has {} entries",
                                           parent.size(), correct.size()));
  }
  for (std::size_t i = 0; i < parent.size(); ++i) {
    if (parent[i] < -1 || parent[i] >= static_cast<std::int64_t>(i)) {
      throw Failure("bad-tree", fmt::format("the parent of node {} is {}", i, parent[i]),
                    "a parent stands before its children; a root has parent -1");
    }
    if (parent[i] >= 0 && correct[static_cast<std::size_t>(parent[i])] != 0) {
      throw Failure(
          "bad-tree",
          fmt::format("node {} is marked correct, but has a child, node {}", parent[i], i),
          "only leaves end an answer");
    }
  }
}

}  // namespace

TreeValues tree_values(const std::vector<std::int64_t>& parent,
                       const std::vector<std::uint8_t>& correct) {
  require_tree(parent, correct);
  const std::size_t count = parent.size();
  TreeValues tree{std::vector<double>(count), std::vector<std::uint8_t>(count),
                  std::vector<std::int64_t>(count, kUnlabelled)};
  std::vector<std::int64_t>& steps = tree.steps_to_correct;
  for (std::size_t i = count; i-- > 0;) {
    if (correct[i] != 0) steps[i] = 1;
    if (parent[i] < 0 || steps[i] == kUnlabelled) continue;
    std::int64_t& above = steps[static_cast<std::size_t>(parent[i])];
    above = std::min(above, steps[i] + 1);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (parent[i] < 0) continue;
    const auto above = static_cast<std::size_t>(parent[i]);
    const bool on_route = steps[i] != kUnlabelled;
    if (!on_route) steps[i] = steps[above];
    if (steps[i] == kUnlabelled) continue;
    const double value = tree.values[above];
    const double change = (1 - value) / static_cast<double>(steps[i]);
    tree.values[i] = std::max(0.0, on_route ? value + change : value - change);
    tree.labelled[i] = 1;
  }
  return tree;
}

struct TreeValuesNode final : Node {
  Input<Values> parent{
      this, "parent", "of each node; -1 for a root; before its children", {.dims = "N"}};
  Input<Values> correct{this, "correct", "leaves that end correctly", {.dims = "N"}};
  Output<Values> values{
      this, "values", "0..1: how far, and how surely, to a right end", {.dims = "N"}};
  Output<Values> labelled{this, "labelled", "whether a node has a value", {.dims = "N"}};
  Output<Values> steps_to_correct{this, "steps_to_correct", "int64; 1024: no label", {.dims = "N"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"ReST-MCTS", "search tree", "value model", "Monte Carlo tree search"}};
  Doc doc{this,
          "V = V_parent +- (1 - V_parent) / m, m the steps to the nearest correct leaf (+ on a "
          "route to "
          "one, - off it), from V = 0 at the root. A tree without a correct leaf has no labels."};

  void run(Step& step) const override {
    const Values& above = step[parent];
    std::vector<std::int64_t> parents;
    for (const double x : numbers_of(above.values)) {
      parents.push_back(static_cast<std::int64_t>(x));
    }
    std::vector<std::uint8_t> ends;
    for (const double x : numbers_of(step[correct].values)) ends.push_back(x != 0 ? 1 : 0);
    const TreeValues tree = tree_values(parents, ends);
    step[values] =
        Values{at::tensor(at::ArrayRef<double>(tree.values), at::dtype(at::kDouble)), above.batch};
    step[labelled] = Values{
        at::tensor(at::ArrayRef<std::uint8_t>(tree.labelled), at::dtype(at::kByte)).to(at::kBool),
        above.batch};
    step[steps_to_correct] =
        Values{at::tensor(at::ArrayRef<std::int64_t>(tree.steps_to_correct), at::dtype(at::kLong)),
               above.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TreeValuesNode, "Value labels of a search tree", "arXiv:2406.03816")
