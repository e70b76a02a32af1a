#include "nodes/loss/token_guided_dpo.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// Guided reward of one side's completions [N]; `sign` is that of the guide's weight.
at::Tensor guided_reward(const LossBatch& batch, const std::string& side, double sign,
                         const TokenGuidedDpoOptions& options) {
  const std::string name = side + "_log_probs";
  const at::Tensor& policy = batch.at(name);
  if (policy.dim() != 2) {
    throw Failure("bad-shape",
                  c10::str(name, " is ", policy.sizes(), ", but must be log-probs per token [N,T]"),
                  "hand in log-probs of tokens, 0 at padding");
  }
  const at::Tensor reference = argument_like(batch, "ref_" + name, policy, name).detach();
  const at::Tensor guide = argument_like(batch, "guide_" + name, policy, name).detach();
  if (fits_guided_sums({policy, reference, guide})) {
    return guided_sums(policy, reference, guide, options.beta, sign * options.alpha * options.beta);
  }
  const at::Tensor weight = 1 + sign * options.alpha * options.beta * (guide - reference);
  return options.beta * (weight * (policy - reference)).sum(-1);
}

}  // namespace

LossResult token_guided_dpo_loss(const LossBatch& batch, const TokenGuidedDpoOptions& options) {
  const at::Tensor chosen = guided_reward(batch, "chosen", 1, options);
  const at::Tensor rejected = guided_reward(batch, "rejected", -1, options);
  if (chosen.size(0) != rejected.size(0)) {
    throw Failure("bad-shape",
                  fmt::format("there are {} chosen rows, but {} rejected ones", chosen.size(0),
                              rejected.size(0)),
                  "row i of both is one pair");
  }
  const at::Tensor logits = chosen - rejected;
  const at::Tensor losses = logistic_loss(logits);
  LossResult result;
  result.loss = pair_mean(losses, batch);
  result.outputs = {{"losses", losses.detach()},
                    {"accuracy", plain_mean((logits.detach() > 0).to(logits.scalar_type()))}};
  return result;
}

struct TokenGuidedDpo final : LossNode {
  Argument chosen_log_probs{
      this, "chosen_log_probs", "N,T", "policy, 0 at padding", {.differentiable = true}};
  Argument rejected_log_probs{
      this, "rejected_log_probs", "N,T", "policy, 0 at padding", {.differentiable = true}};
  Argument ref_chosen_log_probs = Argument::with_port<LogProbs>(
      this, "ref_chosen_log_probs", "N,T", "the same tokens under the reference");
  Argument ref_rejected_log_probs = Argument::with_port<LogProbs>(
      this, "ref_rejected_log_probs", "N,T", "the same tokens under the reference");
  Argument guide_chosen_log_probs = Argument::with_port<LogProbs>(
      this, "guide_chosen_log_probs", "N,T", "the same tokens under the guide");
  Argument guide_rejected_log_probs = Argument::with_port<LogProbs>(
      this, "guide_rejected_log_probs", "N,T", "the same tokens under the guide");
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "strength of the pull to the reference",
                     {.min = 0, .exclusive_min = true}};
  Param<double> alpha{this, "alpha", 0.5, "weight of the guide's token reward; 0: DPO", {.min = 0}};
  Synonyms words{this, {"TGDPO", "token reward", "preference optimisation"}};
  Doc doc{
      this,
      "r = beta (guide - ref) per token; a token's log-ratio counts 1 + alpha r times in chosen "
      "and 1 - alpha r times in rejected answers; pair loss = -log sigmoid(beta times the "
      "difference of their sums) [N]; loss = mean over the step's pairs.\n"
      "losses [N]: per pair; accuracy: share of pairs with the larger sum for chosen. The guide is a "
      "policy trained by DPO. alpha |r| should stay below 1."};

  LossResult evaluate(const LossBatch& batch) const override {
    return token_guided_dpo_loss(batch, {beta(), alpha()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TokenGuidedDpo, "Token-guided DPO (TGDPO)", "arXiv:2506.14574")
