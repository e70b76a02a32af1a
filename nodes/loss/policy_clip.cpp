#include "nodes/loss/policy_clip.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {

LossResult policy_clip_loss(const LossBatch& batch, const PolicyClipOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  const at::Tensor& mask = raw.mask;
  if (!batch.has("weights") &&
      fits_token_pass(mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    const TokenPass pass =
        clip_pass(mask, raw.log_probs, raw.old_log_probs, raw.advantages, options);
    LossResult result;
    result.loss =
        aggregate_masked(differentiable(raw.log_probs, pass), mask, options.aggregate, batch);
    result.outputs = {{"clip_fraction", at::full({}, pass.means[0])},
                      {"clip_fraction_lower", at::full({}, pass.means[1])},
                      {"approx_kl", at::full({}, pass.means[2])}};
    return result;
  }
  const at::Tensor log_probs = on_mask(mask, raw.log_probs);
  const at::Tensor old_log_probs = on_mask(mask, raw.old_log_probs);
  const at::Tensor advantages = advantages_argument(batch, mask).to(log_probs.scalar_type());
  const at::Tensor log_ratio = held_within(log_probs - old_log_probs, options.log_ratio_clamp);
  const at::Tensor ratio = bounded_exp(log_ratio);
  const at::Tensor capped = options.ratio_cap ? ratio.clamp_max(*options.ratio_cap) : ratio;
  const at::Tensor price = -advantages;
  const at::Tensor plain = price * capped;
  const at::Tensor clipped = price * ratio.clamp(1 - options.low, 1 + options.high);
  at::Tensor token_loss = at::maximum(plain, clipped);
  at::Tensor held = at::zeros_like(mask);
  if (options.dual) {
    // For advantages of 0 and above the loss is at most 0: there the bound holds nothing.
    const at::Tensor bound = price.abs() * *options.dual;
    held = token_loss.detach() > bound;
    token_loss = at::minimum(bound, token_loss);
  }
  if (batch.has("weights")) {
    token_loss = token_loss * masked_argument(batch, "weights", mask).detach();
  }
  LossResult result;
  result.loss = aggregate(token_loss, mask, options.aggregate, batch);
  result.outputs = {{"clip_fraction", masked_mean(clipped > plain, mask)},
                    {"clip_fraction_lower", masked_mean(held, mask)},
                    {"approx_kl", masked_mean(-log_ratio, mask)}};
  return result;
}

namespace {

enum class ClipPreset {
  none,
  verl,
  trl_grpo,
  trl_bnpo,
  trl_dapo,
  trl_dr_grpo,
  openrlhf,
  r1_reward
};
constexpr auto choices(ClipPreset) {
  return std::to_array<Choice<ClipPreset>>({
      {ClipPreset::none, "none", "the parameters as given"},
      {ClipPreset::verl, "verl", "dual clip 3, log-ratio clamp 20, token_mean"},
      {ClipPreset::trl_grpo, "trl_grpo", "no clamp, seq_mean_token_mean, empty rows count"},
      {ClipPreset::trl_bnpo, "trl_bnpo", "no clamp, token_mean"},
      {ClipPreset::trl_dapo, "trl_dapo", "no clamp, token_mean, high 0.28"},
      {ClipPreset::trl_dr_grpo, "trl_dr_grpo",
       "no clamp, seq_mean_token_sum_norm (set norm_length)"},
      {ClipPreset::openrlhf, "openrlhf", "no dual clip, log-ratio clamp 20, token_mean"},
      {ClipPreset::r1_reward, "r1_reward", "log-ratio clamp ln 1000, seq_mean_token_mean"},
  });
}

}  // namespace

struct PolicyClip final : LossNode {
  Argument log_probs{this, "log_probs", "N,T", "current policy", {.differentiable = true}};
  Argument old_log_probs{this, "old_log_probs", "N,T", "policy at the start of the step"};
  Argument advantages = Argument::with_port<Advantages>(
      this, "advantages", "N,*", "[N] for all tokens of a row, or [N,T]; else the optimizer's");
  Argument mask{this, "mask", "N,T", "action tokens"};
  Argument weights = Argument::with_port<Values>(this, "weights", "N,T",
                                                 "importance correction, multiplies the token loss",
                                                 {.optional = true});
  Param<double> low{this, "low", 0.2, "lower clip distance", {.min = 0}};
  Param<double> high{this, "high", 0.2, "upper clip distance (DAPO 0.28)", {.min = 0}};
  Param<std::optional<double>> dual{this,
                                    "dual",
                                    std::nullopt,
                                    "dual clip: for A < 0 the loss is at most -A * dual (verl 3)",
                                    {.min = 1, .exclusive_min = true}};
  Param<std::optional<double>> ratio_cap{
      this,
      "ratio_cap",
      std::nullopt,
      "TRL's delta: caps the ratio before the maximum, whatever the sign of A",
      {.min = 1}};
  Param<std::optional<double>> log_ratio_clamp{this,
                                               "log_ratio_clamp",
                                               20.0,
                                               "holds the log-ratio within +- this before exp",
                                               {.min = 0, .exclusive_min = true}};
  AggregateParams aggregate{this};
  Param<ClipPreset> preset{this, "preset", ClipPreset::none,
                           "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{
      this, "verl", {{"dual", 3.0}, {"log_ratio_clamp", 20.0}, {"aggregate", "token_mean"}}};
  Preset trl_grpo{this,
                  "trl_grpo",
                  {{"log_ratio_clamp", nullptr},
                   {"aggregate", "seq_mean_token_mean"},
                   {"empty_rows", "count"}}};
  Preset trl_bnpo{this, "trl_bnpo", {{"log_ratio_clamp", nullptr}, {"aggregate", "token_mean"}}};
  Preset trl_dapo{this,
                  "trl_dapo",
                  {{"log_ratio_clamp", nullptr}, {"aggregate", "token_mean"}, {"high", 0.28}}};
  Preset trl_dr_grpo{this,
                     "trl_dr_grpo",
                     {{"log_ratio_clamp", nullptr}, {"aggregate", "seq_mean_token_sum_norm"}}};
  Preset openrlhf{this,
                  "openrlhf",
                  {{"dual", nullptr}, {"log_ratio_clamp", 20.0}, {"aggregate", "token_mean"}}};
  Preset r1_reward{this,
                   "r1_reward",
                   {{"log_ratio_clamp", 6.907755278982137}, {"aggregate", "seq_mean_token_mean"}}};
  Synonyms words{this, {"PPO", "GRPO", "DAPO", "Dr.GRPO", "surrogate", "clip"}};
  Doc doc{this,
          "ratio = exp(log_probs - old_log_probs)\n"
          "token loss = max(-A ratio, -A clamp(ratio, 1 - low, 1 + high)), for A < 0 at most -A "
          "dual\n"
          "Where a clamp is active its gradient is 0. What stands outside the mask has no "
          "influence.\n"
          "clip_fraction: share of tokens where the clipped branch is larger; clip_fraction_lower: "
          "share at the dual clip; approx_kl: mean of old - new log-probs. In a micro-batch they "
          "are means over its own tokens."};

  LossResult evaluate(const LossBatch& batch) const override {
    return policy_clip_loss(batch,
                            {low(), high(), dual(), ratio_cap(), log_ratio_clamp(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PolicyClip, "Clipped policy gradient (PPO, GRPO, DAPO)", "arXiv:1707.06347")
