#include "nodes/reward/place_steps.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/clip_delta.h"
#include "nodes/reward/kl_penalty.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor placed_steps(const at::Tensor& step_rewards, const at::Tensor& end,
                        const at::Tensor& mask) {
  if (step_rewards.sizes() != end.sizes() || step_rewards.size(0) != mask.size(0)) {
    throw Failure("bad-shape",
                  c10::str("the step rewards are ", step_rewards.sizes(), ", their ends ",
                           end.sizes(), ", the mask is ", mask.sizes()),
                  "step rewards and ends are [N,S], the mask is [N,T]");
  }
  const at::Tensor there = end.ge(0);
  if (end.ge(mask.size(1)).any().item<bool>()) {
    throw Failure("bad-step",
                  c10::str("a step ends at token ", end.max().item<std::int64_t>(), "; there are ",
                           mask.size(1)),
                  "ends of steps lie inside the completion");
  }
  const at::Tensor kept = step_rewards.masked_fill(there.logical_not(), 0.0);
  return at::zeros(mask.sizes(), step_rewards.options())
      .scatter_add(1, end.clamp_min(0), kept)
      .masked_fill(mask.logical_not(), 0.0);
}

struct PlaceSteps final : Node {
  Input<StepRewards> step_rewards{this, "step_rewards",
                                  "one per step, with the steps' last tokens"};
  Optional<Rewards> success{this, "success", "of the whole answer, at its last token"};
  Input<Completions> completions{this, "completions", "the rows they belong to"};
  Output<TokenRewards> token_rewards{this, "token_rewards",
                                     "both at the tokens where they are earned"};
  Param<bool> without_success{this, "without_success", false,
                              "step rewards alone, which then must speak for the last step too"};
  Rule has_success{
      this,
      {{{"success", {{"connected", false}}}},
       {{"without_success", true}},
       "Delta drops the last step's reward and relies on a success reward",
       "connect success, or set without_success for rewards that cover the last step"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"combine", "dense reward", "process and outcome", "PRM"}};
  Doc doc{
      this,
      "token_rewards [N,T] = each step's reward at its last token + success at the row's last "
      "token. Rows whose success is absent leave the mask. The factor alpha of the step rewards "
      "is that of reward.clip_delta, the KL that of reward.kl_penalty or loss.kl."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const StepRewards& steps = step[step_rewards];
    require_same_rows("step_rewards", steps.rewards.size(0), steps.batch, "completions", c.rows(),
                      c.batch);
    if (!steps.boundaries.defined()) {
      step.fail("no-boundaries", "nothing says where the steps end",
                "take step rewards with boundaries, as reward.step_scores gives them");
    }
    TokenRewards out;
    out.mask = c.mask();
    out.group = c.group;
    out.batch = c.batch;
    out.rewards =
        placed_steps(steps.rewards, steps.boundaries.to(steps.rewards.device()), out.mask);
    add_success(step, out);
    step[token_rewards] = std::move(out);
  }

 private:
  void add_success(const Step& step, TokenRewards& out) const {
    const Rewards* const r = step[success];
    if (r == nullptr) {
      if (without_success()) return;
      step.fail("no-success", "Delta drops the last step's reward and relies on a success reward",
                "connect success, or set without_success");
    }
    require_same_rows("success", r->total.size(0), r->batch, "step_rewards", out.rewards.size(0),
                      out.batch);
    if (r->absent.defined()) out.mask = out.mask.logical_and(r->absent.logical_not().unsqueeze(1));
    out.rewards = (out.rewards + at_last_token(r->total.to(out.rewards.scalar_type()), out.mask))
                      .masked_fill(out.mask.logical_not(), 0.0);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PlaceSteps, "Step rewards on tokens", "arXiv:2410.15115")
