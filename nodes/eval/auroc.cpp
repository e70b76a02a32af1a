#include "engine/core/registry.h"
#include "nodes/eval/ranks.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalAuroc final : Node {
  Input<Rewards> negative{this, "negative", "scores of what should score low, e.g. human texts"};
  Input<Rewards> positive{
      this, "positive", "scores of what should score high, e.g. texts of a model", {.dims = "M"}};
  Output<Scalar> area{this, "auroc", "1: every positive lies above every negative; 0.5: chance"};
  Output<Metrics> metrics{this, "metrics", "auroc"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"ROC", "AUC", "detection", "separability"}};
  Doc doc{
      this,
      "The share of pairs (positive, negative) in which the positive scores higher; equal scores "
      "count one half. Absent rows are left out. negative [N], positive [M]."};

  void run(Step& step) const override {
    const double value = rewardloom::auroc(present_rewards(step[negative], "the negatives"),
                                           present_rewards(step[positive], "the positives"));
    step[area] = Scalar{value};
    Metrics out;
    out.add("auroc", value);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalAuroc, "Area under the ROC curve", "doi:10.1148/radiology.143.1.7063747")
