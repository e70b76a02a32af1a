#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/correction/log_ratio.h"
#include "nodes/loss/aggregate.h"

namespace rewardloom {
namespace {

enum class Level { token, sequence };
constexpr auto choices(Level) {
  return std::to_array<Choice<Level>>({
      {Level::token, "token", "one weight per token"},
      {Level::sequence, "sequence", "one weight for all tokens of a row"},
  });
}

enum class SequenceForm { sum, mean };
constexpr auto choices(SequenceForm) {
  return std::to_array<Choice<SequenceForm>>({
      {SequenceForm::sum, "sum", "product of the ratios (verl, TRL); grows with the length"},
      {SequenceForm::mean, "mean", "their geometric mean"},
  });
}

enum class BoundMode { truncate, mask };
constexpr auto choices(BoundMode) {
  return std::to_array<Choice<BoundMode>>({
      {BoundMode::truncate, "truncate", "weights are held within the bounds"},
      {BoundMode::mask, "mask", "weights outside the bounds become 0"},
  });
}

enum class RowFilter { none, sequence_mean };
constexpr auto choices(RowFilter) {
  return std::to_array<Choice<RowFilter>>({
      {RowFilter::none, "none", "every row is kept"},
      {RowFilter::sequence_mean, "sequence_mean",
       "only rows whose geometric mean ratio lies within the bounds (OpenRLHF seq-mask-tis)"},
  });
}

enum class ImportancePreset {
  none,
  verl,
  trl,
  openrlhf_tis,
  openrlhf_icepop,
  openrlhf_seq_mask_tis
};
constexpr auto choices(ImportancePreset) {
  return std::to_array<Choice<ImportancePreset>>({
      {ImportancePreset::none, "none", "the parameters as given"},
      {ImportancePreset::verl, "verl", "token, truncate at 2, clamp 20"},
      {ImportancePreset::trl, "trl", "sequence, mask above 3, no clamp"},
      {ImportancePreset::openrlhf_tis, "openrlhf_tis", "token, truncate, no clamp"},
      {ImportancePreset::openrlhf_icepop, "openrlhf_icepop", "token, mask, no clamp"},
      {ImportancePreset::openrlhf_seq_mask_tis, "openrlhf_seq_mask_tis",
       "token, truncate, rows filtered by their mean, no clamp"},
  });
}

}  // namespace

struct Importance final : Node {
  Input<LogProbs> log_probs{this, "log_probs", "of the trainer's policy"};
  Optional<LogProbs> behavior{this, "behavior_log_probs", "what the sampler reported"};
  Optional<Completions> completions{this, "completions", "instead: they carry the sampler's"};
  Output<Values> weights{
      this, "weights", "factor of each token's loss, 0 outside the mask", {.dims = "N,T"}};
  Param<Level> level{this, "level", Level::token, "what has a weight"};
  Param<SequenceForm> form{this, "sequence_form", SequenceForm::sum, "a row's ratio"};
  Param<BoundMode> mode{this, "mode", BoundMode::truncate, "what the bounds do"};
  Param<std::optional<double>> low{this, "low", std::nullopt, "lower bound", {.min = 0}};
  Param<double> high{this, "high", 2.0, "upper bound", {.min = 0, .exclusive_min = true}};
  Param<std::optional<double>> clamp{this,
                                     "log_ratio_clamp",
                                     20.0,
                                     "holds the log-ratio within +- this before exp",
                                     {.min = 0, .exclusive_min = true}};
  Param<bool> normalise{this, "batch_normalise", false, "divide by the mean weight"};
  Param<RowFilter> filter{this, "filter", RowFilter::none, "which rows are kept"};
  Param<ImportancePreset> preset{
      this, "preset", ImportancePreset::none,
      "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this,
              "verl",
              {{"level", "token"}, {"mode", "truncate"}, {"high", 2.0}, {"log_ratio_clamp", 20.0}}};
  Preset trl{
      this,
      "trl",
      {{"level", "sequence"}, {"mode", "mask"}, {"high", 3.0}, {"log_ratio_clamp", nullptr}}};
  Preset tis{this,
             "openrlhf_tis",
             {{"level", "token"}, {"mode", "truncate"}, {"log_ratio_clamp", nullptr}}};
  Preset icepop{this,
                "openrlhf_icepop",
                {{"level", "token"}, {"mode", "mask"}, {"log_ratio_clamp", nullptr}}};
  Preset seq_mask{this,
                  "openrlhf_seq_mask_tis",
                  {{"level", "token"},
                   {"mode", "truncate"},
                   {"filter", "sequence_mean"},
                   {"log_ratio_clamp", nullptr}}};
  Rule ordered{this,
               {{{"low", {{"set", true}}}},
                {{"low", {{"max", "$high"}}}},
                "the lower bound lies above the upper one",
                "set low below high"}};
  Synonyms words{this, {"importance sampling", "TIS", "IcePop", "off-policy", "mismatch"}};
  Doc doc{this,
          "w = exp(log_probs - behavior_log_probs) per token, or per row, bounded; [N,T].\n"
          "Metrics: weight_mean, and bounded (share of tokens that a bound touches)."};

  void run(Step& step) const override {
    const LogRatio x(step[log_probs], step[behavior], step[completions]);
    const at::Tensor plain = raw_weights(x);
    at::Tensor kept = at::where(x.mask, bounded(plain), at::zeros({}, plain.options()));
    if (filter() == RowFilter::sequence_mean) {
      const at::Tensor mean = (x.ratio().sum(-1) / x.lengths().clamp_min(1)).exp();
      kept = kept * inside(mean).unsqueeze(-1).to(kept.scalar_type());
    }
    step.metric("bounded", masked_mean(kept != plain, x.mask).item<double>());
    if (normalise()) kept = kept / mean_weight(kept, x.mask);
    step.metric("weight_mean", masked_mean(kept, x.mask).item<double>());
    step[weights] = Values{kept, step[log_probs].batch};
  }

 private:
  at::Tensor raw_weights(const LogRatio& x) const {
    at::Tensor ratio = x.ratio();
    if (level() == Level::sequence) {
      ratio = ratio.sum(-1, true);
      if (form() == SequenceForm::mean) ratio = ratio / x.lengths().clamp_min(1).unsqueeze(-1);
      ratio = ratio.expand_as(x.mask);
    }
    return (clamp() ? ratio.clamp(-*clamp(), *clamp()) : ratio).exp();
  }
  at::Tensor inside(const at::Tensor& weight) const {
    const at::Tensor below = weight <= high();
    return low() ? below.logical_and(weight >= *low()) : below;
  }
  at::Tensor bounded(const at::Tensor& weight) const {
    if (mode() == BoundMode::mask) return weight * inside(weight).to(weight.scalar_type());
    const at::Tensor capped = weight.clamp_max(high());
    return low() ? capped.clamp_min(*low()) : capped;
  }
  /// Over tokens, or over rows that have any.
  at::Tensor mean_weight(const at::Tensor& weight, const at::Tensor& mask) const {
    if (level() == Level::token) return masked_mean(weight, mask);
    return masked_mean(weight.amax(-1, true), mask.any(-1, true));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Importance, "Importance weights", "fengyao.notion.site/off-policy-rl")
