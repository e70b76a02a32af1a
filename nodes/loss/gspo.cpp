#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/sequence_ratio.h"

namespace rewardloom {

LossResult gspo_loss(const LossBatch& batch, const GspoOptions& options) {
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor mean = rows.log_ratio().sum(-1, true) / rows.lengths().unsqueeze(-1);
  at::Tensor log_ratio = mean;
  if (options.gradient == SequenceGradient::token) {
    log_ratio = rows.log_probs - rows.log_probs.detach() + mean.detach();
  }
  if (options.log_ratio_max) log_ratio = log_ratio.clamp_max(*options.log_ratio_max);
  const at::Tensor ratio = bounded_exp(log_ratio);
  const at::Tensor plain = -rows.advantages * ratio;
  const at::Tensor clipped = -rows.advantages * ratio.clamp(1 - options.low, 1 + options.high);
  const AggregateOptions by_length{Aggregate::seq_mean_token_sum, {}, EmptyRows::count};
  LossResult result;
  result.loss = aggregate(at::maximum(plain, clipped), rows.mask,
                          options.length_weighted ? by_length : options.aggregate, batch);
  result.outputs = {{"clip_fraction", masked_mean(clipped > plain, rows.mask)},
                    {"approx_kl", masked_mean(-rows.log_ratio(), rows.mask)}};
  return result;
}

namespace {

enum class GspoPreset { none, verl, openrlhf, trl, trl_luspo };
constexpr auto choices(GspoPreset) {
  return std::to_array<Choice<GspoPreset>>({
      {GspoPreset::none, "none", "the parameters as given"},
      {GspoPreset::verl, "verl", "gradient token, seq_mean_token_mean, log_ratio_max 10"},
      {GspoPreset::openrlhf, "openrlhf", "gradient sequence, seq_mean_token_mean"},
      {GspoPreset::trl, "trl", "gradient sequence, seq_mean_token_mean, empty rows count"},
      {GspoPreset::trl_luspo, "trl_luspo", "gradient sequence, each row weighted by its length"},
  });
}

}  // namespace

struct Gspo final : LossNode {
  PolicyArguments rows{this};
  Param<double> low{this, "low", 0.0003, "lower clip distance of the row's ratio", {.min = 0}};
  Param<double> high{this, "high", 0.0004, "upper clip distance of the row's ratio", {.min = 0}};
  Param<SequenceGradient> gradient{this, "gradient", SequenceGradient::sequence,
                                   "what the gradient goes through; the same where the advantage "
                                   "is constant in a row"};
  Param<std::optional<double>> log_ratio_max{
      this, "log_ratio_max", std::nullopt, "holds the row's log-ratio at or below this (verl 10)"};
  Param<bool> length_weighted{this, "length_weighted", false,
                              "LUSPO: mean over rows of the row's loss times its length"};
  AggregateParams aggregate{this};
  Param<GspoPreset> preset{this, "preset", GspoPreset::none,
                           "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{
      this,
      "verl",
      {{"gradient", "token"}, {"aggregate", "seq_mean_token_mean"}, {"log_ratio_max", 10.0}}};
  Preset openrlhf{
      this, "openrlhf", {{"gradient", "sequence"}, {"aggregate", "seq_mean_token_mean"}}};
  Preset trl{
      this,
      "trl",
      {{"gradient", "sequence"}, {"aggregate", "seq_mean_token_mean"}, {"empty_rows", "count"}}};
  Preset trl_luspo{this, "trl_luspo", {{"gradient", "sequence"}, {"length_weighted", true}}};
  Synonyms words{this, {"GSPO", "LUSPO", "sequence-level ratio", "surrogate", "clip"}};
  Doc doc{this,
          "ratio of a row = exp(mean over its tokens of log_probs - old_log_probs)\n"
          "token loss = max(-A ratio, -A clamp(ratio, 1 - low, 1 + high)) [N,T]\n"
          "With length_weighted the loss is the mean over all rows of length * row loss and "
          "`aggregate` is not used."};

  LossResult evaluate(const LossBatch& batch) const override {
    return gspo_loss(batch,
                     {low(), high(), gradient(), log_ratio_max(), length_weighted(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Gspo, "Sequence-level clipped policy gradient (GSPO)", "arXiv:2507.18071")
