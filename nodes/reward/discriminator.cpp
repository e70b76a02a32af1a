#include "nodes/reward/discriminator.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

at::Tensor head_scores(const at::Tensor& features, const DiscriminatorHead& head, bool normalise) {
  const at::Tensor score = at::matmul(features, head.weight.to(features.options()));
  if (!normalise) return score + head.bias;
  return score / (features.norm(2, {-1}) + 1e-6) + head.bias;
}

}  // namespace

at::Tensor discriminator_reward(const at::Tensor& global, const at::Tensor& patches,
                                const DiscriminatorHead& head, double global_weight,
                                bool normalise) {
  if (global.dim() != 2 || patches.dim() != 3 || head.weight.dim() != 1 ||
      patches.size(0) != global.size(0) || patches.size(1) == 0 ||
      patches.size(2) != global.size(1) || head.weight.size(0) != global.size(1)) {
    throw Failure("bad-shape",
                  c10::str("global features are ", global.sizes(), ", patch features ",
                           patches.sizes(), ", the head's weight ", head.weight.sizes()),
                  "they are [N,D], [N,P,D] with P at least 1, and [D]");
  }
  return global_weight * head_scores(global, head, normalise) +
         (1 - global_weight) * head_scores(patches, head, normalise).mean(1);
}

struct DiscriminatorReward final : Node {
  Input<Features> global_features{this, "global_features", "one vector per image"};
  Input<Latents> patch_features{this, "patch_features", "one vector per patch", {.dims = "N,P,D"}};
  Input<Values> weight{this, "weight", "the linear head", {.dims = "D"}};
  Optional<Scalar> bias{this, "bias", "its bias; else 0"};
  Optional<Completions> completions{this, "completions", "whose groups the rewards carry"};
  Output<Rewards> rewards{this, "rewards", "the head's score: how real it looks"};
  Param<double> global_weight{
      this, "global_weight", 0.7, "of the image against its patches", {.min = 0, .max = 1}};
  Param<bool> normalise{this, "normalise", true, "features are divided by their norm + 1e-6 first"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"Adv-GRPO", "GAN", "adversarial reward", "DINO"}};
  Doc doc{this,
          "global_weight * score(image) + (1 - global_weight) * mean score(patch); [N].\n"
          "Adv-GRPO normalises the features here, but not where it trains the head."};

  void run(Step& step) const override {
    const Features& global = step[global_features];
    const Latents& patches = step[patch_features];
    const Scalar* const offset = step[bias];
    const at::Tensor total = discriminator_reward(
        global.features, patches.latents,
        {step[weight].values, offset != nullptr ? offset->value : 0}, global_weight(), normalise());
    finite_rows(total, {}, "discriminator scores");
    if (const Completions* c = step[completions]) {
      require_same_rows("global_features", total.size(0), global.batch, "completions", c->rows(),
                        c->batch);
      step[rewards] = scored(step, *c, total, {});
      return;
    }
    Rewards rows;
    rows.total = total;
    rows.batch = global.batch;
    step[rewards] = rescored(step, rows, total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DiscriminatorReward, "Discriminator reward", "arXiv:2511.20256")
