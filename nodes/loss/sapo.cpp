#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/token_kernels.h"
#include "nodes/loss/token_weight.h"

namespace rewardloom {

LossResult sapo_loss(const LossBatch& batch, const SapoOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  if (fits_token_pass(raw.mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    const TokenPass pass =
        sapo_pass(raw.mask, raw.log_probs, raw.old_log_probs, raw.advantages, options);
    LossResult result;
    result.loss =
        aggregate_masked(differentiable(raw.log_probs, pass), raw.mask, options.aggregate, batch);
    result.outputs = {{"approx_kl", at::full({}, pass.means[0])}};
    return result;
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor log_ratio = held_within(rows.log_ratio(), options.log_ratio_clamp);
  const at::Tensor plus = at::full({}, options.tau_positive, rows.advantages.options());
  const at::Tensor minus = at::full({}, options.tau_negative, rows.advantages.options());
  const at::Tensor tau = at::where(rows.advantages > 0, plus, minus);
  const at::Tensor gate = (tau * (bounded_exp(log_ratio) - 1)).sigmoid() * 4 / tau;
  LossResult result;
  result.loss = aggregate(-rows.advantages * gate, rows.mask, options.aggregate, batch);
  result.outputs = {{"approx_kl", masked_mean(-log_ratio, rows.mask)}};
  return result;
}

namespace {

enum class SapoPreset { none, verl, trl };
constexpr auto choices(SapoPreset) {
  return std::to_array<Choice<SapoPreset>>({
      {SapoPreset::none, "none", "the parameters as given"},
      {SapoPreset::verl, "verl", "seq_mean_token_mean, rows without tokens do not count"},
      {SapoPreset::trl, "trl", "seq_mean_token_mean, every row counts, no clamp"},
  });
}

}  // namespace

struct Sapo final : LossNode {
  PolicyArguments rows{this};
  Param<double> tau_positive{this,
                             "tau_positive",
                             1.0,
                             "steepness of the gate where A > 0",
                             {.min = 0, .exclusive_min = true}};
  Param<double> tau_negative{this,
                             "tau_negative",
                             1.05,
                             "steepness of the gate where A <= 0",
                             {.min = 0, .exclusive_min = true}};
  Param<std::optional<double>> log_ratio_clamp{this,
                                               "log_ratio_clamp",
                                               20.0,
                                               "holds the log-ratio within +- this before exp",
                                               {.min = 0, .exclusive_min = true}};
  AggregateParams aggregate{this};
  Param<SapoPreset> preset{this, "preset", SapoPreset::none,
                           "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{
      this,
      "verl",
      {{"aggregate", "seq_mean_token_mean"}, {"empty_rows", "exclude"}, {"log_ratio_clamp", 20.0}}};
  Preset trl{this,
             "trl",
             {{"aggregate", "seq_mean_token_mean"},
              {"empty_rows", "count"},
              {"log_ratio_clamp", nullptr}}};
  Synonyms words{this, {"SAPO", "soft clip", "soft gate"}};
  Doc doc{this,
          "token loss = -A sigmoid(tau (ratio - 1)) 4 / tau [N,T], ratio = exp(log_probs - "
          "old_log_probs): slope -A at ratio 1, fading smoothly instead of a hard clip."};

  LossResult evaluate(const LossBatch& batch) const override {
    return sapo_loss(batch, {tau_positive(), tau_negative(), log_ratio_clamp(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Sapo, "Soft-gated policy gradient (SAPO)", "arXiv:2511.20347")
