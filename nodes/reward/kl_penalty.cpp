#include "nodes/reward/kl_penalty.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/kl.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor at_last_token(const at::Tensor& outcome, const at::Tensor& mask) {
  const at::Tensor position =
      at::arange(mask.size(1), mask.options().dtype(at::kLong)).expand_as(mask);
  const at::Tensor last = position.masked_fill(mask.logical_not(), -1).amax(1, true);
  const at::Tensor here = position.eq(last).logical_and(mask);
  return at::where(here, outcome.unsqueeze(1), at::zeros({}, outcome.options()));
}

struct KlPenalty final : Node {
  Optional<Rewards> rewards{this, "rewards", "the outcome, placed at the last action token"};
  Optional<TokenRewards> token_rewards{this, "token_rewards", "instead: rewards per token"};
  Optional<LogProbs> log_probs{this, "log_probs",
                               "the policy that sampled; else what completions carry"};
  Input<LogProbs> ref_log_probs{this, "ref_log_probs", "the same tokens under the reference"};
  Optional<Completions> completions{
      this, "completions", "the log-probs of sampling, or the mask where log_probs carry none"};
  Optional<Scalar> controller{this, "controller", "coefficient of this iteration, e.g. adaptive"};
  Output<TokenRewards> out{this, "token_rewards", "rewards minus coefficient * KL, per token"};
  Param<double> coefficient{this, "coefficient", 0.1, "weight of the KL", {.min = 0}};
  Param<KlEstimator> estimator{this, "estimator", KlEstimator::k1, "how the KL is estimated"};
  Param<std::optional<std::vector<double>>> reward_clip{
      this, "reward_clip", std::nullopt, "[low, high]: holds the outcome first (OpenRLHF)"};
  Param<std::optional<double>> output_clamp{this,
                                            "output_clamp",
                                            std::nullopt,
                                            "holds the KL within +- this (OpenRLHF 10)",
                                            {.min = 0, .exclusive_min = true}};
  Rule something{this,
                 {{{"rewards", {{"connected", false}}}},
                  {{"token_rewards", {{"connected", true}}}},
                  "there is no reward to add the KL to",
                  "connect rewards, or token_rewards"}};
  Rule sampled{this,
               {{{"log_probs", {{"connected", false}}}},
                {{"completions", {{"connected", true}}}},
                "there are no log-probs of the policy that sampled",
                "connect completions, or log_probs"}};
  Synonyms words{this, {"KL in the reward", "RLHF", "reference"}};
  Doc doc{this,
          "token_rewards [N,T] = outcome at the last action token - coefficient * kl(log_probs, "
          "ref_log_probs), 0 outside the mask. Rows whose outcome is absent leave the mask.\n"
          "Metrics: kl (mean per token), kl_row (mean per row of the sum), coefficient."};

  void run(Step& step) const override {
    const LogProbs current = sampling_log_probs(step);
    const LogProbs& reference = step[ref_log_probs];
    require_same_rows("log_probs", current.log_probs.size(0), current.batch, "ref_log_probs",
                      reference.log_probs.size(0), reference.batch);
    at::Tensor mask = mask_of(step, current);
    const at::Tensor zero = at::zeros({}, current.log_probs.options());
    const at::Tensor kl = at::where(mask,
                                    kl_estimate(current.log_probs, reference.log_probs, {},
                                                {estimator(), std::nullopt, output_clamp()}),
                                    zero);
    const double weight = step[controller] != nullptr ? step[controller]->value : coefficient();
    TokenRewards result;
    result.batch = current.batch;
    const at::Tensor outcome = outcome_of(step, mask, result);
    result.rewards = at::where(mask, outcome - weight * kl, zero.to(outcome.scalar_type()));
    result.mask = mask;
    require_finite_tokens(
        result.rewards,
        {{step[log_probs] != nullptr ? "log_probs" : "completions", current.log_probs, mask},
         {"ref_log_probs", reference.log_probs, mask},
         {step[token_rewards] != nullptr ? "token_rewards" : "rewards", outcome, mask}});
    step.metric("kl", masked_mean(kl, mask).item<double>());
    step.metric("kl_row", kl.sum(-1).mean().item<double>());
    step.metric("coefficient", weight);
    step[out] = std::move(result);
  }

 private:
  LogProbs sampling_log_probs(Step& step) const {
    if (const LogProbs* const given = step[log_probs]) return *given;
    const Completions* const c = step[completions];
    if (c == nullptr) {
      step.fail("there are no log-probs of the policy that sampled",
                "connect completions, or log_probs");
    }
    return {c->log_probs, c->mask(), c->weight_version, c->batch};
  }

  at::Tensor mask_of(Step& step, const LogProbs& current) const {
    const TokenRewards* const dense = step[token_rewards];
    const Completions* const c = step[completions];
    const at::Tensor& own = current.mask;
    const at::Tensor mask = own.defined()                               ? own
                            : c != nullptr                              ? c->mask()
                            : dense != nullptr && dense->mask.defined() ? dense->mask
                                                                        : at::Tensor();
    if (!mask.defined()) {
      step.fail("nothing says which tokens are the policy's own",
                "connect completions, or log_probs with a mask");
    }
    if (mask.sizes() != current.log_probs.sizes()) {
      throw Failure(
          "bad-shape",
          c10::str("the mask is ", mask.sizes(), ", but log_probs are ", current.log_probs.sizes()),
          "rows and tokens must agree");
    }
    return mask.to(at::kBool);
  }

  /// The rewards per token before the KL; takes absent rows out of the mask.
  at::Tensor outcome_of(Step& step, at::Tensor& mask, TokenRewards& result) const {
    if (const TokenRewards* const dense = step[token_rewards]) {
      result.group = dense->group;
      require_same_rows("token_rewards", dense->rewards.size(0), dense->batch, "log_probs",
                        mask.size(0), result.batch);
      return dense->rewards;
    }
    const Rewards* const r = step[rewards];
    if (r == nullptr) {
      step.fail("there is no reward to add the KL to", "connect rewards, or token_rewards");
    }
    result.group = r->group;
    require_same_rows("rewards", r->total.size(0), r->batch, "log_probs", mask.size(0),
                      result.batch);
    if (r->absent.defined()) mask = mask.logical_and(r->absent.logical_not().unsqueeze(1));
    at::Tensor total = r->total;
    if (reward_clip()) {
      if (reward_clip()->size() != 2) step.fail("reward_clip must be [low, high]");
      total = total.clamp((*reward_clip())[0], (*reward_clip())[1]);
    }
    return at_last_token(total, mask);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(KlPenalty, "KL penalty in the reward", "arXiv:1909.08593")
