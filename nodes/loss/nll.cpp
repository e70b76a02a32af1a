#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {

struct NegativeLogLikelihood final : LossNode {
  Argument log_probs{this, "log_probs", "N,T", "current policy", {.differentiable = true}};
  Argument mask{this, "mask", "N,T", "the tokens to be learnt"};
  Argument weights = Argument::with_port<Values>(this, "weights", "N,T", "one weight per token",
                                                 {.optional = true});
  Param<double> coefficient{this, "coefficient", 1.0, "factor of the loss"};
  AggregateParams aggregate{this};
  Synonyms words{this, {"SFT", "cross-entropy", "maximum likelihood", "behaviour cloning"}};
  Doc doc{
      this,
      "token loss = -weights * log_probs [N,T], aggregated over the mask. Weights do not change "
      "the divisor, which counts tokens or rows."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    const at::Tensor& raw = token_argument(batch, "log_probs", tokens);
    at::Tensor weights;
    if (batch.has("weights")) weights = token_argument(batch, "weights", tokens).detach();
    if (fits_token_pass(tokens, {raw, weights.defined() ? weights : raw})) {
      const TokenPass pass = linear_pass(tokens, raw, -1, weights);
      LossResult result;
      result.loss = coefficient() * rewardloom::aggregate_masked(differentiable(raw, pass), tokens,
                                                                 aggregate(), batch);
      result.outputs = {{"nll_mean", at::full({}, -pass.means[0])}};
      return result;
    }
    at::Tensor token_loss = -on_mask(tokens, raw);
    const at::Tensor mean = masked_mean(token_loss, tokens);
    if (weights.defined()) token_loss = token_loss * on_mask(tokens, weights);
    LossResult result;
    result.loss = coefficient() * rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    result.outputs = {{"nll_mean", mean}};
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(NegativeLogLikelihood, "Negative log-likelihood", "arXiv:2203.02155")
