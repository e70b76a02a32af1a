#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/eval/reward_distance.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

struct EvalStarc final : Node {
  Input<Values> reward{this, "reward", "R(s,a,s')", {.dims = "S,A,S"}};
  Optional<Values> other{this, "other", "a second reward of the same MDP", {.dims = "S,A,S"}};
  Input<Values> transitions{this, "transitions", "T(s'|s,a)", {.dims = "S,A,S"}};
  Output<Values> canonical_table{
      this, "canonical", "of reward, before normalisation", {.dims = "S,A,S"}};
  Output<Scalar> size{this, "norm", "of the canonical table"};
  Output<Scalar> distance{this, "distance",
                          "between both normalised tables; nothing without other"};
  Output<Metrics> metrics{this, "metrics", "norm, distance"};
  Param<Canonical> canonical{this, "canonical", Canonical::val, "what is removed from the tables"};
  Param<TableNorm> norm{this, "norm", TableNorm::l2, "what divides a canonical table"};
  Param<TableMetric> metric{this, "metric", TableMetric::l2, "distance of the normalised tables"};
  Param<double> gamma{this, "gamma", required, "discount", {.min = 0, .max = 1}};
  Rule discounted{this,
                  {{{"canonical", {"val", "val_potential"}}},
                   {{"gamma", {{"max", 0.9999999}}}},
                   "the value of the uniform policy diverges",
                   "use gamma < 1, or canonical epic or dard"}};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"reward distance", "EPIC", "DARD", "canonicalisation", "reward hacking"}};
  Doc doc{this,
          "How far is a learned or shaped reward from the one that was meant, for this MDP? Both "
          "tables are freed of what cannot change which policy is better (canonical), divided by "
          "their norm, and compared. With val, distance 0 means the same order of policies. Tables "
          "[S,A,S]. A table whose norm is 0 is not divided, with an alarm: every policy is equal."};

  void run(Step& step) const override {
    const bool by_value = canonical() == Canonical::val || canonical() == Canonical::val_potential;
    if (by_value && gamma() >= 1) {
      step.fail("diverges", "the value of the uniform policy diverges at gamma 1",
                "use gamma < 1, or canonical epic or dard");
    }
    const at::Tensor t = finite_table(step[transitions].values, 3, "transitions");
    require_reward_table(t, "transitions");
    require_transitions(t);
    const at::Tensor first = canonical_of(step[reward], t, "reward");
    const double n = table_norm(first, t, norm());
    step[canonical_table] = Values{first};
    step[size] = Scalar{n};
    Metrics out;
    out.add("norm", n);
    if (const Values* const given = step[other]) {
      const at::Tensor second = canonical_of(*given, t, "other");
      const double m = table_norm(second, t, norm());
      if (n == 0 || m == 0) {
        step.alarm("trivial-reward", "a canonical reward is 0: under it every policy is equal");
      }
      out.add("distance", table_distance(normalised(first, n), normalised(second, m), metric()));
      step[distance] = Scalar{out.values.back()};
    }
    put_metrics(step, metrics, std::move(out));
  }

 private:
  at::Tensor canonical_of(const Values& values, const at::Tensor& t, const char* what) const {
    const at::Tensor table = finite_table(values.values, 3, what);
    if (table.sizes() != t.sizes()) {
      throw Failure("bad-shape",
                    c10::str(what, " is ", table.sizes(), ", but transitions are ", t.sizes()),
                    "both are [S,A,S] of one MDP");
    }
    return canonical_reward(table, t, gamma(), canonical());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EvalStarc, "Distance of rewards (STARC)", "arXiv:2309.15257")
