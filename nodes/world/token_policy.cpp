#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/world/table_policy.h"

namespace rewardloom {

struct TokenPolicy final : Node {
  State<TablePolicy> table{this, "table"};
  Input<Values> prior{
      this, "prior", "probability of each token: the start and the reference", {.dims = "V"}};
  Output<Policy> policy{this, "policy", "the tables, to sample from and to train"};
  Param<std::int64_t> copies{this, "copies", 1, "independent policies side by side", {.min = 1}};
  Param<std::int64_t> length{this, "length", 10, "positions", {.min = 1, .unit = "tokens"}};
  Synonyms words{this, {"tabular policy", "softmax table", "actor", "toy policy"}};
  Doc doc{
      this,
      "A table of logits [V] for each of `length` positions, which starts as the prior. `copies` "
      "policies learn side by side in one pass; rows of copy k have group id k."};

  void run(Step& step) const override {
    const auto state = step.shared(table, [] { return std::make_shared<TablePolicy>(); });
    if (state->empty()) state->start(step[prior].values, copies(), length());
    step[policy] = Policy{{state}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TokenPolicy, "Policy as tables", "")
