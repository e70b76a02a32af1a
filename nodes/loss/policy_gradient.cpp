#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"

namespace rewardloom {

struct PolicyGradient final : LossNode {
  Argument log_probs{this, "log_probs", "N,T", "current policy", {.differentiable = true}};
  Argument advantages = Argument::with_port<Advantages>(
      this, "advantages", "N,*", "[N] for all tokens of a row, or [N,T]; else the optimizer's");
  Argument mask{this, "mask", "N,T", "action tokens"};
  Argument weights = Argument::with_port<Values>(
      this, "weights", "N,T", "constant factor of each token", {.optional = true});
  AggregateParams aggregate{this};
  Synonyms words{this, {"REINFORCE", "GPG", "vanilla policy gradient"}};
  Doc doc{
      this,
      "token loss = -A log_probs [N,T]: the plain policy gradient, right for one step per batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    const at::Tensor current = masked_argument(batch, "log_probs", tokens);
    at::Tensor token_loss = -advantages_argument(batch, tokens).to(current.scalar_type()) * current;
    if (batch.has("weights")) {
      token_loss = token_loss * masked_argument(batch, "weights", tokens).detach();
    }
    LossResult result;
    result.loss = rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PolicyGradient, "Policy gradient (REINFORCE)", "doi:10.1007/BF00992696")
