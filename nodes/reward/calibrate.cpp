#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct Calibrate final : Node {
  Input<Rewards> rewards{this, "rewards", "scores of a noisy reward model"};
  Input<Rewards> bonus{this, "bonus", "what low scores are raised by, e.g. reasoning phrases"};
  Output<Rewards> out{this, "rewards", "the calibrated scores"};
  Param<double> weight{this, "weight", 0.1, "of the bonus", {.min = 0, .max = 1}};
  Param<double> below{this, "below", 0.5, "only scores below this are raised"};
  Param<double> cap{this, "cap", 1.0, "largest score"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RPR", "false negatives"}};
  Doc doc{
      this,
      "s' = min(cap, s + weight * bonus) where s < below, else s; [N].\n"
      "Repairs part of the false negatives of a reward model: a right answer that it scored low "
      "still gets a little for how it was reached. Where all scores are 0 or 1 an alarm says so."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const Rewards& b = step[bonus];
    require_same_rows("rewards", r.total.size(0), r.batch, "bonus", b.total.size(0), b.batch);
    const at::Tensor raised =
        (r.total + weight() * b.total.to(r.total.scalar_type())).clamp_max(cap());
    Rewards result = changed(step, r, at::where(r.total < below(), raised, r.total));
    result.absent = either_absent(r.absent, b.absent);
    const at::Tensor hard = r.total.eq(0).logical_or(r.total.eq(1));
    if (hard.numel() > 0 && hard.all().item<bool>()) {
      step.alarm("hard-rewards",
                 "the scores are all 0 or 1: only zeros are raised, by the whole bonus");
    }
    step[out] = std::move(result);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Calibrate, "Scores raised by a bonus where they are low", "arXiv:2505.22653")
