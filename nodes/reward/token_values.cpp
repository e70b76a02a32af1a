#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/world/token_world.h"

namespace rewardloom {

struct TokenValueReward final : Node {
  Input<Completions> completions{this, "completions", "rows of one length"};
  Input<Values> value{this, "value", "what each token is worth", {.dims = "V"}};
  Output<Rewards> rewards{this, "rewards", "sum over the row / sqrt(T)"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"gold reward", "token sum", "linear reward"}};
  Doc doc{this, "rewards [N] = sum_t value[x_t] / sqrt(T), over all T tokens of a row."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const at::Tensor& table = step[value].values;
    if (table.dim() != 1 || c.rows() == 0 || c.tokens.min().item<std::int64_t>() < 0 ||
        c.tokens.max().item<std::int64_t>() >= table.size(0)) {
      step.fail("unknown-token",
                c10::str("values are ", table.sizes(), ", which does not fit the tokens ",
                         c.tokens.sizes()),
                "connect the values of the world that the rows are from");
    }
    step[rewards] = scored(step, c, token_value_reward(c.tokens, table), {});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TokenValueReward, "Sum of token values", "")
