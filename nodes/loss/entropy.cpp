#include "nodes/loss/entropy.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/token_kernels.h"
#include "nodes/loss/vocabulary_kernels.h"

namespace rewardloom {

at::Tensor token_entropy(const at::Tensor& logits) {
  const at::Tensor log_probs = logits.log_softmax(-1);
  const at::Tensor possible = at::isfinite(log_probs);
  const at::Tensor finite = at::where(possible, log_probs, at::zeros({}, log_probs.options()));
  return -(log_probs.exp() * finite).sum(-1);
}

struct EntropyLoss final : LossNode {
  Argument entropy{this,
                   "entropy",
                   "N,T",
                   "of the current policy, where the optimizer has it",
                   {.optional = true, .differentiable = true}};
  Argument logits{this,
                  "logits",
                  "N,T,V",
                  "else those from which it is computed",
                  {.optional = true, .differentiable = true}};
  Argument mask{this, "mask", "N,T", "action tokens"};
  Param<double> coefficient{this, "coefficient", 1.0,
                            "factor; a negative one rewards entropy (verl subtracts it)"};
  AggregateParams aggregate{this};
  Synonyms words{this, {"entropy bonus", "exploration"}};
  Doc doc{this,
          "loss = coefficient * aggregate(H), H = -sum p log p per action token [N,T], in nats.\n"
          "The loss is minimised: a positive coefficient makes the policy more certain, a "
          "negative one, e.g. -0.001, is the usual entropy bonus."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    LossResult result;
    if (batch.has("entropy")) {
      const at::Tensor& raw = token_argument(batch, "entropy", tokens);
      if (fits_token_pass(tokens, {raw})) {
        const TokenPass pass = linear_pass(tokens, raw, 1);
        result.loss = coefficient() * rewardloom::aggregate_masked(differentiable(raw, pass),
                                                                   tokens, aggregate(), batch);
        result.outputs = {{"entropy", pass.value}, {"entropy_mean", at::full({}, pass.means[0])}};
        return result;
      }
    }
    const at::Tensor h = entropy_of(batch, tokens);
    result.loss = coefficient() * rewardloom::aggregate(h, tokens, aggregate(), batch);
    result.outputs = {{"entropy", h.detach()}, {"entropy_mean", masked_mean(h, tokens)}};
    return result;
  }

 private:
  static at::Tensor entropy_of(const LossBatch& batch, const at::Tensor& mask) {
    if (batch.has("entropy")) return masked_argument(batch, "entropy", mask);
    const at::Tensor& logits = batch.at("logits");
    if (fits_vocabulary_pass(mask, {logits})) {
      return differentiable(logits, entropy_pass(mask, logits));
    }
    const at::Tensor h = token_entropy(logits_argument(batch, "logits", mask));
    return at::where(mask, h, at::zeros({}, h.options().requires_grad(false)));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EntropyLoss, "Entropy", "arXiv:1602.01783")
