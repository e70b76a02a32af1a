#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/optimize/adamw.h"
#include "nodes/reward/rows.h"
#include "nodes/world/table_policy.h"

namespace rewardloom {

struct OptimizeTokenPolicy final : Node {
  State<AdamW> adam{this, "adam"};
  Writes<Policy> policy{this, "policy", "the tables to train"};
  Input<Completions> completions{this, "completions", "what they wrote, the copy as group id"};
  Input<Advantages> advantages{this, "advantages", "one per row"};
  Output<Policy> trained{this, "policy", "the tables after the update", {.same_as = "policy"}};
  Param<double> kl{this, "kl", 0.1, "price of a nat of divergence from the prior", {.min = 0}};
  Param<double> learning_rate{
      this, "learning_rate", 0.1, "of Adam", {.min = 0, .exclusive_min = true}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"REINFORCE", "policy gradient", "tabular policy", "RLHF"}};
  Doc doc{
      this,
      "One Adam step on -mean(A log pi(x)) + kl * KL(pi || prior): REINFORCE with the divergence "
      "computed exactly, position by position. Copies do not touch each other. Metrics: loss, kl "
      "(mean over copies), grad_norm."};

  void run(Step& step) const override {
    TablePolicy& tables = step.write<TablePolicy>(policy);
    const Completions& c = step[completions];
    const Advantages& a = step[advantages];
    require_same_rows("completions", c.rows(), c.batch, "advantages", a.advantages.size(0),
                      a.batch);
    if (a.advantages.dim() != 1) {
      step.fail("bad-shape", c10::str("advantages are ", a.advantages.sizes(), ", but must be [N]"),
                "connect advantages of whole rows");
    }
    require_places(step, tables, c);
    const TableGradient result =
        table_gradient(tables.logits, tables.log_prior, c.tokens, c.group, a.advantages, kl());
    AdamWOptions options;
    options.learning_rate = learning_rate();
    TensorMap weights{{"logits", tables.logits}};
    TensorMap gradients{{"logits", result.gradient}};
    const AdamWStep done = step[adam].step(weights, gradients, options);
    if (done.skipped) step.alarm("not-finite", "the gradient is not finite: no step was taken");
    tables.set_weight_version(tables.weight_version() + 1);
    step.metric("loss", result.loss.mean().item<double>());
    step.metric("kl", result.kl.mean().item<double>());
    step.metric("grad_norm", done.gradient_norm);
    step[trained] = step.pass(policy);
  }

 private:
  static void require_places(const Step& step, const TablePolicy& tables, const Completions& c) {
    const at::Tensor& table = tables.logits;
    const bool fits = c.tokens.size(1) == table.size(1) && c.rows() > 0 &&
                      c.tokens.ge(0).logical_and(c.tokens.lt(table.size(2))).all().item<bool>() &&
                      c.group.defined() &&
                      c.group.ge(0).logical_and(c.group.lt(table.size(0))).all().item<bool>();
    if (fits) return;
    step.fail("other-rows",
              c10::str("the completions ", c.tokens.sizes(), " do not fit ", table.size(0),
                       " tables of ", table.size(1), " positions and ", table.size(2), " tokens"),
              "connect what sample.token_policy drew from this policy");
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeTokenPolicy, "Policy update of tables (REINFORCE)",
                "Williams 1992, doi:10.1007/BF00992696")
