#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/policy_arguments.h"
#include "nodes/loss/sequence_ratio.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {

namespace {

AggregateOptions aggregate_of(const GspoOptions& options) {
  const AggregateOptions by_length{Aggregate::seq_mean_token_sum, {}, EmptyRows::count};
  return options.length_weighted ? by_length : options.aggregate;
}

/// x, at most the limit. Unlike clamp it has a gradient where x is no number: that must be heard
/// of.
at::Tensor held_below(const at::Tensor& x, double limit) {
  return at::where(x > limit, at::full({}, limit, x.detach().options()), x);
}

/// With one ratio r per row and c = r within its bounds, the tokens of a row lose
/// -P min(r, c) - M max(r, c): P and M are the sums of its advantages above and below 0.
LossResult by_row_sums(const LossBatch& batch, const PolicyRows& rows, const GspoOptions& options) {
  const SignedSums sums =
      signed_sums(rows.mask, rows.log_probs, rows.old_log_probs, rows.advantages);
  const double most = std::min(kLargestExponent, options.log_ratio_max.value_or(kLargestExponent));
  const at::Tensor ratio = held_below(sums.log_ratio / rows.lengths(), most).exp();
  const at::Tensor clipped = ratio.clamp(1 - options.low, 1 + options.high);
  const at::Tensor row_loss =
      -sums.positive * at::minimum(ratio, clipped) - sums.negative * at::maximum(ratio, clipped);
  LossResult result;
  result.loss = aggregate_rows(row_loss, rows.mask, aggregate_of(options), batch);
  const at::Tensor r = ratio.detach(), c = clipped.detach();
  const at::Tensor is_clipped =
      at::where(r > c, sums.positive_count, sums.negative_count) * r.ne(c).to(r.scalar_type());
  const at::Tensor tokens = token_count(rows.mask).clamp_min(1).to(r.scalar_type());
  result.outputs = {{"clip_fraction", is_clipped.sum() / tokens},
                    {"approx_kl", -sums.log_ratio.detach().sum() / tokens}};
  return result;
}

}  // namespace

LossResult gspo_loss(const LossBatch& batch, const GspoOptions& options) {
  if (options.gradient == SequenceGradient::sequence) {
    const PolicyRows given = unmasked_policy_rows(batch);
    if (fits_token_pass(given.mask, {given.log_probs, given.old_log_probs, given.advantages})) {
      return by_row_sums(batch, given, options);
    }
  }
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
  LossResult result;
  result.loss = aggregate(at::maximum(plain, clipped), rows.mask, aggregate_of(options), batch);
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
