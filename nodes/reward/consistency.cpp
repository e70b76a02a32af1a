#include "nodes/reward/consistency.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor consistency_reward(const at::Tensor& accuracy, const at::Tensor& format,
                              const at::Tensor& consistency, double format_weight,
                              double consistency_weight) {
  return format_weight * format + accuracy * (1 + consistency_weight * consistency);
}

struct Consistency final : Node {
  Input<Rewards> accuracy{this, "accuracy", "whether the verdict is right"};
  Input<Rewards> format{this, "format", "whether the layout is"};
  Input<Rewards> consistency{this, "consistency",
                             "whether the reasoning agrees with the verdict: -1, 0 or 1"};
  Output<Rewards> rewards{this, "rewards", "the sum, with its parts as components"};
  Param<double> format_weight{this, "format_weight", 0.5, "weight of the format"};
  Param<double> consistency_weight{this, "consistency_weight", 0.5,
                                   "weight of the consistency, on right answers only"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"R1-Reward", "judge", "StableReinforce"}};
  Doc doc{this,
          "format_weight * format + accuracy * (1 + consistency_weight * consistency); [N]. "
          "Consistency "
          "pays only where the answer is right, so that it cannot be had by being wrong."};

  void run(Step& step) const override {
    const Rewards& right = step[accuracy];
    const Rewards& layout = step[format];
    const Rewards& agrees = step[consistency];
    const at::Tensor absent =
        absent_in_any({{"accuracy", &right}, {"format", &layout}, {"consistency", &agrees}});
    Rewards out = rescored(step, right,
                           consistency_reward(right.total, layout.total, agrees.total,
                                              format_weight(), consistency_weight()),
                           absent);
    out.components = {
        {"accuracy", right.total}, {"format", layout.total}, {"consistency", agrees.total}};
    step[rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Consistency, "Consistency-checked judge reward", "arXiv:2505.02835")
