#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct Truncation final : Node {
  Input<Rewards> rewards{this, "rewards", "one reward per row"};
  Optional<Completions> completions{this, "completions", "say which answers ended by themselves"};
  Optional<Values> truncated{
      this, "truncated", "rows that were cut, instead of completions", {.dims = "N"}};
  Output<Rewards> out{this, "rewards", "rewards, those of cut rows changed"};
  Param<double> coefficient{
      this, "coefficient", 0.5,
      "0 or more: cut rows' rewards are multiplied by it; negative: replaced"};
  Rule one_source{this,
                  {{{"completions", {{"connected", false}}}},
                   {{"truncated", {{"connected", true}}}},
                   "nothing says which answers were cut",
                   "connect completions, or truncated"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"overlong", "stop properly", "ProRL"}};
  Doc doc{this, "Changes the reward of answers that were cut at the token limit; [N] -> [N]."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const at::Tensor cut = cut_rows(step).to(r.total.device());
    require_same_rows("rewards", r.total.size(0), 0, "truncated", cut.size(0), 0);
    const at::Tensor other =
        coefficient() < 0 ? at::full_like(r.total, coefficient()) : r.total * coefficient();
    step[out] = changed(step, r, at::where(cut, other, r.total));
  }

 private:
  at::Tensor cut_rows(Step& step) const {
    if (const Values* given = step[truncated]) return given->values.to(at::kBool);
    const Completions* c = step[completions];
    if (c == nullptr || !c->finished.defined()) {
      step.fail("nothing says which answers were cut",
                "connect completions of a sampler that reports it, or truncated");
    }
    const Rewards& r = step[rewards];
    require_same_rows("rewards", r.total.size(0), r.batch, "completions", c->rows(), c->batch);
    return c->finished.logical_not();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Truncation, "Truncated answers", "arXiv:2505.24864")
