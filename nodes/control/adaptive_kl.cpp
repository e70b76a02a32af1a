#include "nodes/control/adaptive_kl.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

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
  Rule steady{
      this,
      {Json::object(),
       {{"steps", {{"max", "$horizon"}}}},
       "steps is above horizon, so one update could change the value by more than the fifth "
       "that it is clipped to, and from 5 times horizon on make it 0 or negative",
       "set horizon to many times steps, e.g. 10000 to 256"}};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"KL controller", "beta", "proportional"}};
  Doc doc{this,
          "value *= 1 + clip(kl / target - 1, +-0.2) * steps / horizon, once per measured KL. From "
          "log-probs the KL is the mean over rows of the sum over action tokens of log_probs - "
          "ref_log_probs. Where no KL was measured (no rows), or one that is no number, the value "
          "stays as it is, with the alarm no-kl. The value is checkpointed. Connect current to "
          "reward.kl_penalty.controller."};

  void run(Step& step) const override {
    Coefficient& now = step[state];
    if (!now.begun) now = {initial(), true};
    step[current] = Scalar{now.value};
    step.metric("coefficient_used", now.value);
    const std::vector<double> measured = measured_kls(step);
    std::vector<double> after;
    std::size_t unknown = 0;
    for (const double kl_now : measured) {
      const bool known = std::isfinite(kl_now);
      if (known) now.value = adapted_coefficient(now.value, kl_now, {target(), horizon(), steps()});
      unknown += known ? 0 : 1;
      after.push_back(now.value);
    }
    if (unknown > 0 || measured.empty()) {
      const std::string what = measured.empty()
                                   ? "no KL was measured"
                                   : fmt::format(
                                         "{} of {} measured KLs are no numbers (there are no rows, "
                                         "or log-probs that are not finite)",
                                         unknown, measured.size());
      step.alarm("no-kl", fmt::format("{}: the coefficient stays as it is there, and is {:g} now",
                                      what, now.value));
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
