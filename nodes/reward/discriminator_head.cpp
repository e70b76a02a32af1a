#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/model/head_net.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

struct DiscriminatorHeadReward final : Node {
  Reads<Discriminator> discriminator{this, "discriminator", "the head"};
  Input<Features> global_features{this, "global_features", "one vector per image"};
  Input<Latents> patch_features{this, "patch_features", "one vector per patch", {.dims = "N,P,D"}};
  Optional<Images> images{this, "images", "whose groups the rewards carry"};
  Output<Rewards> rewards{this, "rewards", "the head's score: how real it looks"};
  Param<double> global_weight{
      this, "global_weight", 0.7, "of the image against its patches", {.min = 0, .max = 1}};
  Param<bool> normalise{this, "normalise", true, "features are divided by their norm + 1e-6 first"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"Adv-GRPO", "GAN", "adversarial reward", "DINO"}};
  Doc doc{this,
          "global_weight * h(image) + (1 - global_weight) * mean h(patch); [N]. The official code "
          "normalises the features here, but not where it trains the head: give both nodes the "
          "same normalise to avoid that. Metric mean."};

  void run(Step& step) const override {
    const Features& global = step[global_features];
    const at::Tensor total =
        head_reward(step.read<HeadNet>(discriminator), global.features,
                    step[patch_features].latents, global_weight(), normalise());
    Rewards rows;
    rows.total = total;
    rows.batch = global.batch;
    if (const Images* const given = step[images]) {
      require_same_rows("global_features", total.size(0), global.batch, "images",
                        given->images.size(0), given->batch);
      rows.group = given->group;
    }
    step.metric("mean", total.to(at::kDouble).mean().item<double>());
    step[rewards] = rescored(step, rows, total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DiscriminatorHeadReward, "Discriminator head's score", "arXiv:2511.20256")
