#include "nodes/reward/clip_delta.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <optional>

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
                      double alpha, bool drop_last) {
  if (q.dim() != 2 || q.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str("the step rewards are ", q.sizes(), ", but the mask is ", mask.sizes()),
                  "both are [N,S]");
  }
  const at::Tensor here = mask.to(at::kBool);
  const at::Tensor zero = at::zeros({}, q.options());
  if (mode == ClipDeltaMode::none) return at::zeros_like(q);
  at::Tensor x = at::where(here, q, zero);
  if (mode == ClipDeltaMode::clip || mode == ClipDeltaMode::clip_delta) {
    x = at::where(here, (x - eta).clamp_max(0), zero);
  }
  if (mode == ClipDeltaMode::delta || mode == ClipDeltaMode::clip_delta) {
    // The last step of a row is followed by none: it gets 0, and the one before it keeps its score.
    const at::Tensor inner = drop_last ? at::where(shifted_left(here), x, zero) : x;
    x = inner - shifted_left(inner);
  }
  return x * alpha;
}

namespace {

/// The threshold that was found on the first scores.
struct KeptThreshold {
  std::optional<double> eta;

  void save(Package& out) const { out.meta["eta"] = eta ? Json(*eta) : Json(); }
  void load(const Package& in) {
    const Json& saved = in.meta.at("eta");
    if (!saved.is_null()) eta = saved.get<double>();
  }
};

bool clips(ClipDeltaMode mode) {
  return mode == ClipDeltaMode::clip || mode == ClipDeltaMode::clip_delta;
}

}  // namespace

struct ClipDelta final : Node {
  // Delta of a delta, or clip behind it, is no longer bounded by one step: the order is clip, then
  // delta.
  Input<StepRewards> step_rewards{this,
                                  "step_rewards",
                                  "scores of a process reward model",
                                  {.needs = {{"mode_before", {"raw", "clip", "none"}}}}};
  Output<StepRewards> out{this,
                          "step_rewards",
                          "bounded; 0 where there is no step",
                          {.facts = {{"mode_before", "$mode"}}}};
  Param<ClipDeltaMode> mode{this, "mode", ClipDeltaMode::clip_delta, "what bounds them"};
  State<KeptThreshold> threshold{this, "threshold"};
  Param<double> eta{this,
                    "eta",
                    0.7,
                    "clip: threshold that a score must reach to cost nothing",
                    {.min = 0, .max = 1}};
  Param<std::optional<double>> eta_quantile{
      this,
      "eta_quantile",
      std::nullopt,
      "instead of eta: this quantile of the scores in the first batch that has any, when the "
      "policy is still as it began; then kept",
      {.min = 0, .max = 1}};
  Param<bool> drop_last{this, "drop_last", true,
                        "delta: the last step gets nothing, as success speaks for it"};
  Param<double> alpha{this, "alpha", 1.0, "scale of the result"};
  Synonyms words{this, {"PRM", "process reward", "reward hacking"}};
  Doc doc{
      this,
      "[N,S] -> [N,S]. Keeps a policy from earning reward by adding steps: after clip no step is "
      "positive, after delta the return from a step is that step's own score. The last step gets "
      "nothing from delta: add a success reward (reward.place_steps). Where clip punishes every step "
      "of a batch, or none, an alarm says so; metric punished: the share of steps below eta."};

  void run(Step& step) const override {
    StepRewards steps = step[step_rewards];
    const double least = clips(mode()) ? threshold_for(step, steps) : eta();
    steps.rewards =
        clip_delta(steps.rewards, step_mask(steps), mode(), least, alpha(), drop_last());
    step[out] = std::move(steps);
  }

 private:
  double threshold_for(Step& step, const StepRewards& steps) const {
    const at::Tensor q = steps.rewards.masked_select(step_mask(steps)).to(at::kCPU, at::kDouble);
    if (q.numel() == 0) return eta();
    double least = eta();
    if (const std::optional<double> quantile = eta_quantile()) {
      KeptThreshold& kept = step[threshold];
      if (!kept.eta) kept.eta = at::quantile(q, *quantile).item<double>();
      least = *kept.eta;
      step.metric("eta", least);
    }
    check(step, q, least);
    return least;
  }

  void check(Step& step, const at::Tensor& q, double least) const {
    const double low = q.min().item<double>(), high = q.max().item<double>();
    if (!(low >= 0 && high <= 1)) {
      step.fail("score-range",
                fmt::format("clip needs scores in 0 .. 1, these lie in {} .. {}", low, high),
                "put a sigmoid before it: activation of reward.step_scores");
    }
    const double punished = (q < least).to(at::kDouble).mean().item<double>();
    step.metric("punished", punished);
    if (punished > 0 && punished < 1) return;
    step.alarm(
        punished == 1 ? "every-step-punished" : "no-step-punished",
        fmt::format("eta {} lies {} all scores of the batch ({} .. {}): {:.0f} % of the "
                    "clipped rewards are 0",
                    least, punished == 1 ? "above" : "below", low, high, 100 * (1 - punished)));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ClipDelta, "Bounded process rewards", "arXiv:2410.15115")
