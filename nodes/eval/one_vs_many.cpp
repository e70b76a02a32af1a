#include "engine/core/registry.h"
#include "nodes/eval/choice_scores.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalOneVsMany final : Node {
  Optional<Values> scores{this, "scores", "column 0 is the right solution", {.dims = "P,K"}};
  Optional<Rewards> rewards{this, "rewards",
                            "instead: the first row of each group is the right solution"};
  Output<Scalar> accuracy{this, "accuracy", "share of prompts where right > every wrong"};
  Output<Scalar> accuracy_with_ties{this, "accuracy_with_ties", "the same with >="};
  Output<Scalar> mrr{this, "mrr", "mean of 1 / rank of the right solution"};
  Output<Metrics> metrics{this, "metrics",
                          "accuracy, accuracy_with_ties, mrr, tied (their difference), prompts"};
  Param<RankTies> tie_rule{this, "tie_rule", RankTies::rejected_first,
                           "how equal scores rank, for mrr"};
  Rule something{this,
                 {{{"scores", {{"connected", false}}}},
                  {{"rewards", {{"connected", true}}}},
                  "there is nothing to measure",
                  "connect scores, or rewards"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"RewardMATH", "MRR", "mean reciprocal rank", "benchmark"}};
  Doc doc{
      this,
      "A reward model passes a prompt if the right solution scores higher than every wrong one. "
      "scores [P,K], column 0 right; or rewards [N] with groups of one size whose first row is "
      "the right one. Chance for K = 10: accuracy 0.1, mrr 0.2929. Absent rows and groups of "
      "unequal size are refused, not averaged."};

  void run(Step& step) const override {
    const at::Tensor table = table_of(step[scores], step[rewards], "scores");
    const OneVsMany result = one_vs_many(table, tie_rule());
    step[accuracy] = Scalar{result.accuracy};
    step[accuracy_with_ties] = Scalar{result.accuracy_with_ties};
    step[mrr] = Scalar{result.mrr};
    Metrics out;
    out.add("accuracy", result.accuracy);
    out.add("accuracy_with_ties", result.accuracy_with_ties);
    out.add("mrr", result.mrr);
    out.add("tied", result.accuracy_with_ties - result.accuracy);
    out.add("prompts", static_cast<double>(table.size(0)));
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalOneVsMany, "One right solution against many wrong", "arXiv:2410.01729")
