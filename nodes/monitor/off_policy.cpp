#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/correction/log_ratio.h"
#include "nodes/loss/aggregate.h"

namespace rewardloom {

struct OffPolicy final : Node {
  Input<LogProbs> log_probs{this, "log_probs", "of the trainer's policy"};
  Optional<LogProbs> behavior{this, "behavior_log_probs", "what the sampler reported"};
  Optional<Completions> completions{this, "completions", "instead: they carry the sampler's"};
  Output<Metrics> metrics{this, "metrics", "how far trainer and sampler are apart"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"mismatch", "perplexity gap", "chi-squared", "staleness"}};
  Doc doc{
      this,
      "x = log_probs - behavior_log_probs over action tokens. kl = mean(-x), k3_kl = "
      "mean(exp(x) - 1 - x), chi2_token = mean(exp(2x)) - 1, chi2_seq the same of row sums "
      "(log-ratios within +-20); over rows with tokens, l = -mean log-prob: training_log_ppl and "
      "rollout_log_ppl are the means of the trainer's and the sampler's l, training_ppl and "
      "rollout_ppl those of exp(l); log_ppl_diff, log_ppl_abs_diff, log_ppl_diff_max and "
      "log_ppl_diff_min are the mean, the mean size and the extremes of l_trainer - l_sampler, "
      "ppl_ratio the mean of its exp."};

  void run(Step& step) const override {
    const LogRatio x(step[log_probs], step[behavior], step[completions]);
    const Metrics out = measured(x);
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = out;
  }

 private:
  static Metrics measured(const LogRatio& x) {
    Metrics out;
    const at::Tensor rows = x.mask.any(-1);
    if (!rows.any().item<bool>()) return out;
    const auto add = [&](const char* name, const at::Tensor& value) {
      out.add(name, value.to(at::kDouble).item<double>());
    };
    const at::Tensor ratio = x.ratio().to(at::kDouble);
    const at::Tensor count = x.lengths().clamp_min(1);
    const auto row_mean = [&](const at::Tensor& values) {
      return (values.to(at::kDouble).sum(-1) / count).masked_select(rows);
    };
    const at::Tensor trained = row_mean(x.log_probs), sampled = row_mean(x.behavior_log_probs);
    const at::Tensor gap = sampled - trained;
    add("kl", masked_mean(-ratio, x.mask));
    add("k3_kl", masked_mean(ratio.expm1() - ratio, x.mask));
    add("training_ppl", (-trained).exp().mean());
    add("training_log_ppl", (-trained).mean());
    add("rollout_ppl", (-sampled).exp().mean());
    add("rollout_log_ppl", (-sampled).mean());
    add("log_ppl_diff", gap.mean());
    add("log_ppl_abs_diff", gap.abs().mean());
    add("log_ppl_diff_max", gap.max());
    add("log_ppl_diff_min", gap.min());
    add("ppl_ratio", gap.exp().mean());
    add("chi2_token", masked_mean((2 * ratio.clamp(-20, 20)).exp(), x.mask) - 1);
    const at::Tensor sums = ratio.sum(-1).masked_select(rows).clamp(-20, 20);
    add("chi2_seq", (2 * sums).exp().mean() - 1);
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OffPolicy, "Trainer against sampler", "fengyao.notion.site/off-policy-rl")
