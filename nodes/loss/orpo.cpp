#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/reference_free.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {

std::pair<at::Tensor, at::Tensor> pair_log_probs(const LossBatch& batch, bool averages) {
  at::Tensor chosen = row_argument(batch, "chosen_log_probs");
  at::Tensor rejected = argument_like(batch, "rejected_log_probs", chosen, "chosen_log_probs");
  if (!averages || !batch.has("chosen_lengths")) return {chosen, rejected};
  const auto lengths = [&](const char* name) {
    return argument_like(batch, name, chosen, "chosen_log_probs").clamp_min(1);
  };
  return {chosen / lengths("chosen_lengths"), rejected / lengths("rejected_lengths")};
}

LossResult orpo_loss(const LossBatch& batch, double coefficient) {
  const auto [chosen, rejected] = pair_log_probs(batch, true);
  const at::Tensor log_odds = (chosen - log1mexp(chosen)) - (rejected - log1mexp(rejected));
  const at::Tensor odds = log_odds.detach();
  LossResult result;
  result.loss = coefficient * pair_mean(logistic_loss(log_odds), batch);
  result.outputs = {{"log_odds", odds}, {"accuracy", (odds > 0).to(odds.scalar_type()).mean()}};
  return result;
}

struct Orpo final : LossNode {
  Argument chosen_log_probs{this,
                            "chosen_log_probs",
                            "N",
                            "averaged over completion tokens, below 0; with lengths summed",
                            {.differentiable = true}};
  Argument rejected_log_probs{
      this, "rejected_log_probs", "N", "as chosen_log_probs", {.differentiable = true}};
  Argument chosen_lengths{this,
                          "chosen_lengths",
                          "N",
                          "completion tokens: the sums are divided by them",
                          {.optional = true}};
  Argument rejected_lengths{this, "rejected_lengths", "N", "as chosen_lengths", {.optional = true}};
  Param<double> coefficient{this, "coefficient", 0.1, "factor (lambda; TRL calls it beta)"};
  Synonyms words{this, {"ORPO", "odds ratio", "reference-free", "preference optimisation"}};
  Doc doc{
      this,
      "log odds = log p - log(1 - p), log p = mean log-prob per token; pair loss = -coefficient "
      "log sigmoid(log odds of chosen - log odds of rejected) [N]; loss = mean over the step's "
      "pairs.\n"
      "The supervised term is not in it: connect loss.nll on the chosen answers beside it.\n"
      "log_odds [N]: the difference; accuracy: share above 0."};

  LossResult evaluate(const LossBatch& batch) const override {
    return orpo_loss(batch, coefficient());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Orpo, "Odds-ratio preference term (ORPO)", "arXiv:2403.07691")
