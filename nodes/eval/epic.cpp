#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/eval/reward_distance.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalEpic final : Node {
  Input<Values> reward{this, "reward", "R(s,a,s')", {.dims = "S,A,S"}};
  Input<Values> other{this, "other", "a second reward", {.dims = "S,A,S"}};
  Output<Scalar> distance{this, "distance", "0: equal but for shaping and scale; at most 1"};
  Output<Metrics> metrics{this, "metrics", "distance"};
  Param<EpicForm> form{this, "form", EpicForm::pearson, "how canonical tables are compared"};
  Param<std::int64_t> p{this, "p", 1, "of the lp form", {.min = 1}};
  Param<double> gamma{this, "gamma", required, "discount", {.min = 0, .max = 1}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"reward distance", "equivalent-policy invariant comparison"}};
  Doc doc{this,
          "Potential shaping is removed under uniform states and actions; then pearson: sqrt((1 - "
          "correlation) / 2), or lp: 0.5 |a/|a| - b/|b||, with |x| = (mean |x|^p)^(1/p). No "
          "transitions enter, so rewards that differ only where no step leads count as different: "
          "eval.starc sees that. Tables [S,A,S]."};

  void run(Step& step) const override {
    const at::Tensor a = finite_table(step[reward].values, 3, "reward");
    const at::Tensor b = finite_table(step[other].values, 3, "other");
    require_reward_table(a, "reward");
    if (a.sizes() != b.sizes()) {
      throw Failure("bad-shape", c10::str("reward is ", a.sizes(), ", but other is ", b.sizes()),
                    "both are [S,A,S] of one MDP");
    }
    const double d = epic_distance(a, b, gamma(), form(), p());
    step[distance] = Scalar{d};
    Metrics out;
    out.add("distance", d);
    put_metrics(step, metrics, std::move(out));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalEpic, "EPIC distance of rewards", "arXiv:2006.13900")
