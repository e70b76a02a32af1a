#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/token_kernels.h"
#include "nodes/loss/token_weight.h"

namespace rewardloom {

LossResult cispo_loss(const LossBatch& batch, const CispoOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  const double top = options.bound == RatioBound::absolute ? options.high : 1 + options.high;
  const double bottom = options.low ? 1 - *options.low : 0;
  if (fits_token_pass(raw.mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    const TokenPass pass = cispo_pass(raw.mask, raw.log_probs, raw.old_log_probs, raw.advantages,
                                      options.log_ratio_clamp, bottom, top);
    LossResult result;
    result.loss =
        aggregate_masked(differentiable(raw.log_probs, pass), raw.mask, options.aggregate, batch);
    result.outputs = {{"clip_fraction", at::full({}, pass.means[0])},
                      {"approx_kl", at::full({}, pass.means[1])}};
    return result;
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor log_ratio = held_within(rows.log_ratio().detach(), options.log_ratio_clamp);
  const at::Tensor ratio = bounded_exp(log_ratio);
  at::Tensor held = ratio.clamp_max(top);
  if (options.low) held = held.clamp_min(1 - *options.low);
  LossResult result;
  result.loss =
      aggregate(-held * rows.advantages * rows.log_probs, rows.mask, options.aggregate, batch);
  result.outputs = {{"clip_fraction", masked_mean(held.ne(ratio), rows.mask)},
                    {"approx_kl", masked_mean(-log_ratio, rows.mask)}};
  return result;
}

namespace {

enum class CispoPreset { none, verl, trl };
constexpr auto choices(CispoPreset) {
  return std::to_array<Choice<CispoPreset>>({
      {CispoPreset::none, "none", "the parameters as given"},
      {CispoPreset::verl, "verl", "bounds relative to 1, token_mean"},
      {CispoPreset::trl, "trl", "ratio at most 5, no lower bound, no clamp, token_mean"},
  });
}

}  // namespace

struct Cispo final : LossNode {
  PolicyArguments rows{this};
  Param<std::optional<double>> low{
      this, "low", 0.2, "the ratio is at least 1 - low; null: no lower bound", {.min = 0}};
  Param<double> high{this, "high", 0.2, "upper bound of the ratio, see `bound`", {.min = 0}};
  Param<RatioBound> bound{this, "bound", RatioBound::relative, "what `high` is"};
  Param<std::optional<double>> log_ratio_clamp{this,
                                               "log_ratio_clamp",
                                               20.0,
                                               "holds the log-ratio within +- this before exp",
                                               {.min = 0, .exclusive_min = true}};
  AggregateParams aggregate{this};
  Param<CispoPreset> preset{this, "preset", CispoPreset::none,
                            "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this,
              "verl",
              {{"bound", "relative"}, {"log_ratio_clamp", 20.0}, {"aggregate", "token_mean"}}};
  Preset trl{this,
             "trl",
             {{"bound", "absolute"},
              {"low", nullptr},
              {"high", 5.0},
              {"log_ratio_clamp", nullptr},
              {"aggregate", "token_mean"}}};
  Synonyms words{this, {"CISPO", "MiniMax", "truncated importance sampling"}};
  Doc doc{this,
          "ratio = exp(log_probs - old_log_probs), clamped and then a constant\n"
          "token loss = -ratio A log_probs [N,T]: clipped tokens keep their gradient.\n"
          "clip_fraction: share of tokens whose ratio is outside its bounds."};

  LossResult evaluate(const LossBatch& batch) const override {
    return cispo_loss(batch, {low(), high(), bound(), log_ratio_clamp(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Cispo, "Clipped importance weights (CISPO)", "arXiv:2506.13585")
