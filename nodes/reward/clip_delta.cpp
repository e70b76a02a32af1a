#include "nodes/reward/clip_delta.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

namespace {

/// Every column takes the place of the one before it; the last becomes 0. [N,S] -> [N,S]
at::Tensor shifted_left(const at::Tensor& x) {
  if (x.size(1) == 0) return x;
  return at::cat({x.narrow(1, 1, x.size(1) - 1), at::zeros_like(x.narrow(1, 0, 1))}, 1);
}

}  // namespace

at::Tensor step_mask(const StepRewards& steps) {
  if (!steps.boundaries.defined()) return at::ones_like(steps.rewards, at::kBool);
  return steps.boundaries.ge(0).to(steps.rewards.device());
}

at::Tensor clip_delta(const at::Tensor& q, const at::Tensor& mask, ClipDeltaMode mode, double eta,
                      double alpha) {
  if (q.dim() != 2 || q.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str("the step rewards are ", q.sizes(), ", but the mask is ", mask.sizes()),
                  "both are [N,S]");
  }
  const at::Tensor here = mask.to(at::kBool);
  const at::Tensor zero = at::zeros({}, q.options());
  at::Tensor x = at::where(here, q, zero);
  if (mode == ClipDeltaMode::clip || mode == ClipDeltaMode::clip_delta) {
    x = at::where(here, (x - eta).clamp_max(0), zero);
  }
  if (mode == ClipDeltaMode::delta || mode == ClipDeltaMode::clip_delta) {
    // The last step of a row is followed by none: it gets 0, and the one before it keeps its score.
    const at::Tensor inner = at::where(shifted_left(here), x, zero);
    x = inner - shifted_left(inner);
  }
  return x * alpha;
}

struct ClipDelta final : Node {
  Input<StepRewards> step_rewards{this, "step_rewards", "scores of a process reward model"};
  Output<StepRewards> out{this, "step_rewards", "bounded; 0 where there is no step"};
  Param<ClipDeltaMode> mode{this, "mode", ClipDeltaMode::clip_delta, "what bounds them"};
  Param<double> eta{this, "eta", 0.7, "clip: threshold that a score must reach to cost nothing"};
  Param<double> alpha{this, "alpha", 1.0, "scale of the result"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PRM", "process reward", "reward hacking"}};
  Doc doc{
      this,
      "[N,S] -> [N,S]. Keeps a policy from earning reward by adding steps: after clip no step is "
      "positive, after delta the return from a step is that step's own score."};

  void run(Step& step) const override {
    StepRewards steps = step[step_rewards];
    steps.rewards = clip_delta(steps.rewards, step_mask(steps), mode(), eta(), alpha());
    step[out] = std::move(steps);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ClipDelta, "Bounded process rewards", "arXiv:2410.15115")
