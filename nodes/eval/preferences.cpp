#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/pair_rows.h"
#include "nodes/text/head_scores.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

struct EvalPreferences final : Node, Estimates {
  Reads<RewardModel> reward_model{this, "reward_model", "what is measured"};
  Input<Preferences> preferences{this, "preferences", "pairs that it was not trained on"};
  Output<Metrics> metrics{this, "metrics", "accuracy, its standard error, margins, loss"};
  Param<std::int64_t> max_length{this,
                                 "max_length",
                                 0,
                                 "longest row of a pair; longer pairs are left "
                                 "out, counted; 0: the model's context",
                                 {.min = 0, .unit = "tokens"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"reward model accuracy", "RewardBench", "held-out pairs", "pairwise"}};
  Doc doc{this,
          "accuracy: share of pairs with score(chosen) > "
          "score(rejected), ties counted as wrong "
          "(their share is `ties`); standard_error = sqrt(p (1 - p) / "
          "n); loss: mean of -log "
          "sigmoid(gap); margin: mean gap, margin/std its population "
          "standard deviation."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(reward_model);
    const PairRows pairs = pair_rows(model, step[preferences], max_length());
    Metrics out;
    if (pairs.count() == 0) {
      step.alarm("nothing-scored", "every pair was left out: there is no accuracy");
    } else {
      const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
      const at::Tensor scores =
          score_sequences(model.decoder(), pairs.rows, chunk,
                          [&](std::size_t count, const auto& call) { step.parallel(count, call); });
      if (scores.size(1) != 1) {
        step.fail("model-head",
                  fmt::format("pairs need one score per answer, the model has {}", scores.size(1)),
                  "make it with model.reward and labels 1");
      }
      measure(out, scores.select(1, 0).to(at::kDouble), pairs.count());
    }
    out.add("pairs", static_cast<double>(pairs.count()));
    out.add("left_out", static_cast<double>(pairs.left_out));
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[reward_model]);
    state_scoring(e, model, pair_extent(model, e[preferences]), true);
  }

 private:
  static void measure(Metrics& out, const at::Tensor& scores, std::int64_t pairs) {
    const at::Tensor chosen = scores.narrow(0, 0, pairs), rejected = scores.narrow(0, pairs, pairs);
    const at::Tensor gap = chosen - rejected;
    const auto mean = [](const at::Tensor& values) {
      return values.to(at::kDouble).mean().item<double>();
    };
    const double p = mean(gap.gt(0));
    out.add("accuracy", p);
    out.add("standard_error", std::sqrt(p * (1 - p) / static_cast<double>(pairs)));
    out.add("ties", mean(gap.eq(0)));
    out.add("loss", -mean(at::log_sigmoid(gap)));
    out.add("margin", mean(gap));
    out.add("margin/std", gap.std(false).item<double>());
    out.add("rewards/chosen", mean(chosen));
    out.add("rewards/rejected", mean(rejected));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalPreferences, "Reward model on held-out pairs", "arXiv:2403.13787")
