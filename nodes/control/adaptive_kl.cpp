#include "nodes/control/adaptive_kl.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

double adapted_coefficient(double value, double kl, const AdaptiveKlOptions& options) {
  const double error = std::clamp(kl / options.target - 1, -0.2, 0.2);
  return value * (1 + error * options.steps / options.horizon);
}

namespace {

struct Coefficient {
  double value = 0;
  bool begun = false;
  void save(Package& out) const {
    out.meta["value"] = value;
    out.meta["begun"] = begun;
  }
  void load(const Package& in) {
    value = in.meta.at("value").get<double>();
    begun = in.meta.at("begun").get<bool>();
  }
};

}  // namespace

struct AdaptiveKl final : Node {
  Optional<Values> kl{this, "kl", "measured KLs, one update each, in order", {.dims = "U"}};
  Optional<LogProbs> log_probs{this, "log_probs", "instead: of the policy that sampled"};
  Optional<LogProbs> ref_log_probs{this, "ref_log_probs",
                                   "and the same tokens under the reference"};
  Output<Values> coefficient{this, "coefficient", "value after each update", {.dims = "U"}};
  Output<Scalar> current{this, "current", "value in use: the one before these updates"};
  Param<double> initial{this, "initial", 0.2, "value at the start", {.min = 0}};
  Param<double> target{
      this, "target", 6.0, "the KL that is steered to", {.min = 0, .exclusive_min = true}};
  Param<double> horizon{this, "horizon", 10000, "samples over which it reacts", {.min = 1}};
  Param<double> steps{this, "steps", 256, "samples per update", {.min = 1}};
  State<Coefficient> state{this, "coefficient"};
  Rule something{this,
                 {{{"kl", {{"connected", false}}}},
                  {{"log_probs", {{"connected", true}}}, {"ref_log_probs", {{"connected", true}}}},
                  "there is no KL to steer by",
                  "connect kl, or log_probs and ref_log_probs"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"KL controller", "beta", "proportional"}};
  Doc doc{this,
          "value *= 1 + clip(kl / target - 1, +-0.2) * steps / horizon, once per measured KL. From "
          "log-probs the KL is the mean over rows of the sum over action tokens of log_probs - "
          "ref_log_probs. The value is checkpointed. Connect current to "
          "reward.kl_penalty.controller."};

  void run(Step& step) const override {
    Coefficient& now = step[state];
    if (!now.begun) now = {initial(), true};
    step[current] = Scalar{now.value};
    step.metric("coefficient_used", now.value);
    std::vector<double> after;
    for (const double measured : measured_kls(step)) {
      now.value = adapted_coefficient(now.value, measured, {target(), horizon(), steps()});
      after.push_back(now.value);
    }
    Values out;
    out.values = at::tensor(at::ArrayRef<double>(after), at::dtype(at::kDouble));
    step[coefficient] = std::move(out);
  }

 private:
  std::vector<double> measured_kls(Step& step) const {
    if (const Values* const given = step[kl]) {
      const at::Tensor host = given->values.to(at::kCPU, at::kDouble).contiguous();
      return {host.data_ptr<double>(), host.data_ptr<double>() + host.numel()};
    }
    const LogProbs* const a = step[log_probs];
    const LogProbs* const b = step[ref_log_probs];
    if (a == nullptr || b == nullptr) {
      step.fail("there is no KL to steer by", "connect kl, or log_probs and ref_log_probs");
    }
    at::Tensor x = (a->log_probs - b->log_probs).to(at::kDouble);
    if (a->mask.defined()) x = x.masked_fill(a->mask.to(at::kBool).logical_not(), 0);
    return {x.sum(-1).mean().item<double>()};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(AdaptiveKl, "Adaptive KL coefficient", "arXiv:1909.08593")
