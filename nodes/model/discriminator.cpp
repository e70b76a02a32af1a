#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/model/head_net.h"

namespace rewardloom {

struct MakeDiscriminator final : Node {
  State<HeadNet> weights{this, "weights"};
  Reads<Discriminator> of{this, "of", "another head, which is copied when this first runs", true};
  Output<Discriminator> discriminator{this, "discriminator", "the head, to read and to train"};
  Param<std::int64_t> features{this, "features", 64, "numbers per image and patch", {.min = 1}};
  Param<std::int64_t> hidden{this, "hidden", 512, "width of its layer", {.min = 8, .max = 4096}};
  Synonyms words{this, {"GAN", "Adv-GRPO", "DINO head", "adversarial", "critic"}};
  Doc doc{
      this,
      "Linear(features, hidden) - GELU - Linear(hidden, 1) over frozen features. Random weights "
      "come from (seed, node, tensor, index); optimize.discriminator trains it, "
      "reward.discriminator_head reads it."};

  void run(Step& step) const override {
    const auto state = step.shared(weights, [&] {
      if (step.connected(of)) return step.read<HeadNet>(of).copy();
      auto out = std::make_shared<HeadNet>();
      out->weights = draw_head_weights(features(), hidden(), step.random());
      return out;
    });
    step[discriminator] = Discriminator{{state}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MakeDiscriminator, "Discriminator head", "arXiv:2511.20256")
