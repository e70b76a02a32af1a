#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct BrightnessReward final : Node {
  Input<Images> images{this, "images", "from -1 to 1"};
  Output<Rewards> rewards{this, "rewards", "mean pixel, 0 to 1"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"ink", "aesthetic", "proxy", "hackable"}};
  Doc doc{this,
          "rewards [N]: mean of (pixel + 1) / 2. A stand-in for what an aesthetic scorer likes "
          "for no good reason."};

  void run(Step& step) const override {
    const Images& in = step[images];
    Rewards rows;
    rows.total = (in.images.flatten(1).mean(-1) + 1) / 2;
    rows.group = in.group;
    rows.batch = in.batch;
    step[rewards] = rescored(step, rows, rows.total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(BrightnessReward, "Brightness", "")
