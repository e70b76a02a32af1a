#include "nodes/control/alternation.h"

#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

bool discriminator_turn(std::int64_t index, double real, double generated,
                        const AlternationOptions& o) {
  switch (o.mode) {
    case AlternationMode::trigger: return generated > real - o.margin;
    case AlternationMode::every_k: return (index + 1) % o.k != 0;
    case AlternationMode::ratio: break;
  }
  // Turns come as evenly as their share allows.
  const double share = o.ratio / (1 + o.ratio);
  const auto n = static_cast<double>(index);
  return std::floor((n + 1) * share + 1e-9) > std::floor(n * share + 1e-9);
}

struct TurnCount {
  std::int64_t index = 0;
  void save(Package& out) const { out.meta["index"] = index; }
  void load(const Package& in) { index = in.meta.at("index").get<std::int64_t>(); }
};

double present_mean(const Rewards& rewards) {
  at::Tensor total = rewards.total.to(at::kDouble);
  if (rewards.absent.defined()) total = total.masked_select(rewards.absent.logical_not());
  return total.mean().item<double>();
}

}  // namespace

AlternationTurn alternation_turn(std::int64_t index, double real, double generated,
                                 const AlternationOptions& options) {
  const bool discriminator = discriminator_turn(index, real, generated, options);
  return {!discriminator || !options.skip_other, discriminator};
}

struct Alternation final : Node {
  State<TurnCount> count{this, "count"};
  Input<Rewards> real{this, "real", "what the scorer says of real images"};
  Input<Rewards> generated{this, "generated", "and of generated ones"};
  Output<Scalar> train_generator{this, "train_generator", "1 where it is the generator's turn"};
  Output<Scalar> train_discriminator{this, "train_discriminator",
                                     "1 where it is the discriminator's turn"};
  Param<AlternationMode> mode{this, "mode", AlternationMode::trigger, "who decides"};
  Param<std::int64_t> k{this, "k", 10, "period of every_k", {.min = 1, .unit = "iterations"}};
  Param<double> ratio{
      this, "ratio", 1.0, "discriminator turns per generator turn", {.min = 0.001, .max = 1000}};
  Param<double> margin{this, "margin", 0.0, "trigger: by how much real images should lead"};
  Param<bool> skip_other{this, "skip_other", true,
                         "the generator rests while the discriminator trains"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"co-training", "GAN", "schedule", "who trains when", "trigger"}};
  Doc doc{this,
          "trigger: the discriminator trains while mean(generated) > mean(real) - margin; every_k: "
          "in every iteration but each k-th; ratio: so often per generator turn. Connect the "
          "outputs to the optimizers' turn. Metrics: train_generator, train_discriminator, gap "
          "(mean real - mean generated)."};

  void run(Step& step) const override {
    const double real_mean = present_mean(step[real]), other = present_mean(step[generated]);
    if (!std::isfinite(real_mean) || !std::isfinite(other)) {
      step.fail("not-finite", "a mean score is not finite", "see what the scorer gives");
    }
    const AlternationTurn turn = alternation_turn(step[count].index++, real_mean, other,
                                                  {mode(), k(), ratio(), margin(), skip_other()});
    step.metric("train_generator", turn.generator);
    step.metric("train_discriminator", turn.discriminator);
    step.metric("gap", real_mean - other);
    step[train_generator] = Scalar{turn.generator ? 1.0 : 0.0};
    step[train_discriminator] = Scalar{turn.discriminator ? 1.0 : 0.0};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Alternation, "Whose turn it is", "arXiv:2511.20256")
