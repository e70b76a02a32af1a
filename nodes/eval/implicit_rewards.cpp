#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/pair_rows.h"
#include "nodes/text/model_facts.h"

namespace rewardloom {

struct EvalImplicitRewards final : Node, Estimates {
  Reads<Policy> policy{this, "policy", "what is measured"};
  Reads<ReferenceModel> reference{this, "reference", "what it is compared with"};
  Input<Preferences> preferences{this, "preferences", "pairs that it was not trained on"};
  Output<Metrics> metrics{this, "metrics", "loss, accuracy, margin"};
  Param<double> beta{this, "beta", 0.1, "scales the log-ratios", {.min = 0, .exclusive_min = true}};
  Param<std::int64_t> max_length{
      this,
      "max_length",
      0,
      "longest row of a pair; longer pairs are left out, counted; 0: the "
      "model's context",
      {.min = 0, .unit = "tokens"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"DPO", "held-out pairs", "implicit reward", "validation loss"}};
  Doc doc{this,
          "The reward of an answer is beta * (log pi - log pi_ref), summed over its tokens. "
          "accuracy: share of pairs with reward(chosen) > reward(rejected), ties counted as wrong; "
          "margin: mean of their gap; loss: mean of -log sigmoid(gap), which is log 2 where policy "
          "and reference are equal."};

  void run(Step& step) const override {
    const LanguageModel& model = step.read<LanguageModel>(policy);
    const PairRows pairs = pair_rows(model, step[preferences], max_length());
    Metrics out;
    if (pairs.count() == 0) {
      step.alarm("nothing-scored", "every pair was left out: there is no accuracy");
    } else {
      const at::Tensor rewards =
          beta() * (answer_log_probs(step, model, pairs.rows) -
                    answer_log_probs(step, step.read<LanguageModel>(reference), pairs.rows));
      const at::Tensor gap =
          rewards.narrow(0, 0, pairs.count()) - rewards.narrow(0, pairs.count(), pairs.count());
      out.add("loss", -at::log_sigmoid(gap).mean().item<double>());
      out.add("accuracy", gap.gt(0).to(at::kDouble).mean().item<double>());
      out.add("margin", gap.mean().item<double>());
    }
    out.add("pairs", static_cast<double>(pairs.count()));
    out.add("left_out", static_cast<double>(pairs.left_out));
    for (std::size_t i = 0; i < out.names.size(); ++i) step.metric(out.names[i], out.values[i]);
    step[metrics] = std::move(out);
  }

  void estimate(Estimate& e) const override {
    const LanguageModelFacts& model = facts_of(e[policy]);
    const Extent rows = pair_extent(model, e[preferences]);
    state_scoring(e, model, rows, false);
    state_scoring(e, facts_of(e[reference]), rows, false);
  }

 private:
  /// Summed over each row's answer, float64 [R].
  static at::Tensor answer_log_probs(Step& step, const LanguageModel& model,
                                     const TokenRows& rows) {
    const std::int64_t chunk = step.micro_batch() > 0 ? step.micro_batch() : 16;
    const at::Tensor mask = rows.kinds.eq(static_cast<std::int64_t>(TokenKind::action));
    return score_rows(model.decoder(), rows, {}, chunk,
                      [&](std::size_t count, const auto& call) { step.parallel(count, call); })
        .log_probs.to(at::kDouble)
        .mul(mask)
        .sum(1);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalImplicitRewards, "Policy on held-out pairs", "arXiv:2305.18290")
