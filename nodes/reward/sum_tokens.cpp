#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

struct SumTokens final : Node {
  Input<TokenRewards> token_rewards{this, "token_rewards", "one reward per token"};
  Output<Rewards> rewards{this, "rewards", "their sum per row"};
  TraitsMember traits{this, {.pure = true, .converter = true}};
  Doc doc{this,
          "rewards [N] = sum over tokens of token_rewards [N,T], inside the mask if there is one."};

  void run(Step& step) const override {
    const TokenRewards& dense = step[token_rewards];
    const at::Tensor kept = dense.mask.defined()
                                ? at::where(dense.mask.to(at::kBool), dense.rewards,
                                            at::zeros({}, dense.rewards.options()))
                                : dense.rewards;
    Rewards out;
    out.total = kept.sum(-1, false, at::kDouble).to(dense.rewards.scalar_type());
    out.group = dense.group;
    out.batch = dense.batch;
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SumTokens, "Sum of token rewards", "")
