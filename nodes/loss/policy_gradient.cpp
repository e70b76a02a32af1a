#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/token_kernels.h"

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
    const at::Tensor& raw = token_argument(batch, "log_probs", tokens);
    const at::Tensor price =
        unmasked_advantages(batch, tokens).to(raw.scalar_type()).expand_as(raw);
    at::Tensor weights;
    if (batch.has("weights")) weights = token_argument(batch, "weights", tokens).detach();
    if (fits_token_pass(tokens, {raw, price, weights.defined() ? weights : raw})) {
      const TokenPass pass = linear_pass(tokens, raw, -1, price, weights);
      LossResult result;
      result.loss =
          rewardloom::aggregate_masked(differentiable(raw, pass), tokens, aggregate(), batch);
      return result;
    }
    const at::Tensor current = on_mask(tokens, raw);
    at::Tensor token_loss = -advantages_argument(batch, tokens).to(current.scalar_type()) * current;
    if (weights.defined()) token_loss = token_loss * on_mask(tokens, weights);
    LossResult result;
    result.loss = rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PolicyGradient, "Policy gradient (REINFORCE)", "doi:10.1007/BF00992696")
