#include "nodes/reward/length_penalty.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor length_excess(const at::Tensor& lengths, double per_token, std::int64_t free_length) {
  return per_token * (lengths - free_length).clamp_min(0).to(at::kDouble);
}

struct LengthPenalty final : Node {
  Input<Rewards> rewards{this, "rewards", "the rewards to be lowered"};
  Optional<Completions> completions{this, "completions", "whose action tokens are counted"};
  Optional<Values> lengths{
      this, "lengths", "tokens per row, instead of completions", {.dims = "N"}};
  Output<Rewards> out{this, "rewards", "rewards minus the penalty"};
  Param<double> per_token{this, "per_token", 0.01, "penalty per token; negative: a bonus"};
  Param<std::int64_t> free_length{
      this, "free_length", 300, "tokens that cost nothing", {.min = 0, .unit = "tokens"}};
  Rule one_source{this,
                  {{{"completions", {{"connected", false}}}},
                   {{"lengths", {{"connected", true}}}},
                   "nothing says how long the answers are",
                   "connect completions, or lengths"}};
  TraitsMember traits{this, {.pure = true}};
  Doc doc{this,
          "rewards - per_token * max(0, length - free_length); [N] -> [N].\n"
          "What it subtracts is a component of its own, called as the node."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const at::Tensor counted = lengths_of(step);
    require_same_rows("rewards", r.total.size(0), 0, "lengths", counted.size(0), 0);
    const at::Tensor penalty =
        length_excess(counted, per_token(), free_length()).to(r.total.device());
    const at::Tensor total = (r.total.to(at::kDouble) - penalty).to(r.total.scalar_type());
    step[out] = changed(step, r, total);
  }

 private:
  at::Tensor lengths_of(Step& step) const {
    if (const Values* given = step[lengths]) return given->values;
    const Completions* c = step[completions];
    if (c == nullptr) {
      step.fail("nothing says how long the answers are", "connect completions, or lengths");
    }
    const Rewards& r = step[rewards];
    require_same_rows("rewards", r.total.size(0), r.batch, "completions", c->rows(), c->batch);
    return c->lengths();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LengthPenalty, "Length penalty", "arXiv:2502.18770")
