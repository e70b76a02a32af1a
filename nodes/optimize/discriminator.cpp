#include <ATen/ATen.h>
#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/model/head_net.h"
#include "nodes/optimize/network_descent.h"
#include "nodes/optimize/optimizer_params.h"

namespace rewardloom {
namespace {

/// A head on features of real and generated images [N,D], [N,P,D].
class HeadObjective final : public NetworkObjective {
 public:
  struct Side {
    at::Tensor global, patches;
  };
  HeadObjective(Side real, Side fake, std::vector<UpdateTerm> terms)
      : real_(std::move(real)), fake_(std::move(fake)), terms_(std::move(terms)) {}

  std::int64_t rows() const override { return real_.global.size(0); }

  at::Tensor loss(const TensorMap& weights, const NetworkBatch& batch,
                  Gathered& into) const override {
    const auto logits = [&](const at::Tensor& features) {
      return head_logits(weights, features.index_select(0, batch.rows));
    };
    LossBatch losses;
    const at::Tensor real = logits(real_.global), fake = logits(fake_.global);
    losses.set("real", real);
    losses.set("fake", fake);
    losses.set("real_patch", logits(real_.patches));
    losses.set("fake_patch", logits(fake_.patches));
    losses.total_sequences = batch.total;
    const auto right = [](const at::Tensor& rows) {
      return static_cast<double>(rows.sum().item<std::int64_t>());
    };
    into.sums["mean:accuracy"] += 0.5 * (right(real.detach().gt(0)) + right(fake.detach().lt(0)));
    return evaluate_terms(terms_, losses, batch.rows, into);
  }

 private:
  Side real_, fake_;
  std::vector<UpdateTerm> terms_;
};

/// For how many updates on end the discriminator was always right.
struct Saturation {
  std::int64_t turns = 0;
  void save(Package& out) const { out.meta["turns"] = turns; }
  void load(const Package& in) { turns = in.meta.at("turns").get<std::int64_t>(); }
};

}  // namespace

struct OptimizeDiscriminator final : Node {
  State<AdamW> adam{this, "adam"};
  State<Saturation> saturation{this, "saturation"};
  Writes<Discriminator> discriminator{this, "discriminator", "the head to train"};
  Input<Features> real{this, "real", "global features of real images"};
  Input<Latents> real_patches{this, "real_patches", "and their patches'", {.dims = "N,P,D"}};
  Input<Features> fake{this, "fake", "global features of generated images"};
  Input<Latents> fake_patches{this, "fake_patches", "and their patches'", {.dims = "N,Q,D"}};
  Optional<Scalar> turn{this, "turn", "0: nothing is trained in this iteration"};
  Inputs<LossTerm> terms{this, "terms", "the losses on logits, summed"};
  Output<Discriminator> trained{
      this, "discriminator", "the head after the update", {.same_as = "discriminator"}};
  OptimizerParams optimizer{this, 1e-4};
  Param<bool> normalise{this, "normalise", true, "features are divided by their norm + 1e-6 first"};
  Param<std::int64_t> saturated{this,
                                "saturated",
                                10,
                                "updates on end without a mistake that raise an alarm; 0: never",
                                {.min = 0, .unit = "updates"}};
  Rule end{this, OptimizerParams::needs_end()};
  Supplies supplied{this, {"real", "fake", "real_patch", "fake_patch"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"GAN", "Adv-GRPO", "hinge loss", "adversarial", "DINO head"}};
  Doc doc{
      this,
      "AdamW steps on losses of the head's logits: real, fake [N] of the images, real_patch, "
      "fake_patch [N,P] of their patches (loss.discriminator: hinge, bce). The features carry no "
      "gradient: the generator is never trained through the head. Adv-GRPO trains on raw features "
      "(normalise false), but scores unit ones. Metrics: loss, accuracy (share of images on the "
      "right side). Alarm discriminator-saturated."};

  void run(Step& step) const override {
    HeadNet& head = step.write<HeadNet>(discriminator);
    if (has_turn(step, turn)) train(step, head);
    step[trained] = step.pass(discriminator);
  }

 private:
  HeadObjective::Side side(const HeadNet& head, const at::Tensor& global,
                           const at::Tensor& patches) const {
    require_head_features(head, global, patches);
    const auto read = [&](const at::Tensor& features) {
      const at::Tensor x = head.like_weights(features).detach();
      return normalise() ? unit_features(x) : x;
    };
    return {read(global), read(patches)};
  }

  void train(Step& step, HeadNet& head) const {
    const Features& a = step[real];
    const Features& b = step[fake];
    if (a.features.sizes() != b.features.sizes() ||
        step[real_patches].latents.sizes() != step[fake_patches].latents.sizes()) {
      step.fail("bad-shape",
                c10::str("real is ", a.features.sizes(), " with patches ",
                         step[real_patches].latents.sizes(), ", but fake is ", b.features.sizes(),
                         " with patches ", step[fake_patches].latents.sizes()),
                "give as many real as generated images, of one size, through one encoder");
    }
    const HeadObjective objective(side(head, a.features, step[real_patches].latents),
                                  side(head, b.features, step[fake_patches].latents),
                                  update_terms(step[terms]));
    UpdateOptions options = optimizer(step);
    options.micro_batch = step.micro_batch() > 0 ? step.micro_batch() : 64;
    const DescentReport report = descend_network(step, head, step[adam], objective, options);
    const std::int64_t rows = objective.rows() * options.epochs;
    report_network(step, "", report, rows);
    watch(step, report.sums.at("mean:accuracy") / static_cast<double>(rows));
  }

  void watch(Step& step, double accuracy) const {
    Saturation& seen = step[saturation];
    seen.turns = accuracy >= 1 ? seen.turns + 1 : 0;
    if (saturated() == 0 || seen.turns < saturated()) return;
    step.alarm("discriminator-saturated",
               fmt::format("the discriminator has made no mistake in {} updates: its score says "
                           "little about which image is better",
                           seen.turns));
    seen.turns = 0;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeDiscriminator, "Discriminator update", "arXiv:2511.20256")
