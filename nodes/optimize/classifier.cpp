#include <ATen/ATen.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/image/class_scores.h"
#include "nodes/optimize/network_descent.h"
#include "nodes/optimize/optimizer_params.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Cross-entropy of the classes, and losses on the scores of real against generated images.
class ClassifierObjective final : public NetworkObjective {
 public:
  struct Rows {
    at::Tensor images, labels;  ///< [N,C,H,W], [N]
    at::Tensor fake;            ///< [N,C,H,W] of the same classes, or undefined
  };
  ClassifierObjective(Rows rows, std::vector<UpdateTerm> terms, ClassScore score, double keep)
      : rows_(std::move(rows)), terms_(std::move(terms)), score_(score), keep_(keep) {}

  std::int64_t rows() const override { return rows_.labels.size(0); }

  at::Tensor loss(const TensorMap& weights, const NetworkBatch& batch,
                  Gathered& into) const override {
    const auto of = [&](const at::Tensor& all) { return all.index_select(0, batch.rows); };
    const at::Tensor labels = of(rows_.labels);
    const EncodedImages real = encode_images(weights, of(rows_.images));
    const auto scores = [&](const EncodedImages& encoded, ClassScore score) {
      return class_scores(encoded, weights.at("classes.weight"), labels, score);
    };
    into.sums["mean:accuracy"] +=
        scores(real, ClassScore::correct).detach().to(at::kDouble).sum().item<double>();
    const at::Tensor known = -scores(real, ClassScore::log_probability).sum() / batch.total;
    if (!rows_.fake.defined()) return known;
    const EncodedImages fake = encode_images(weights, of(rows_.fake));
    const at::Tensor real_scores = scores(real, score_), fake_scores = scores(fake, score_);
    LossBatch losses;
    losses.set("real", real_scores);
    losses.set("fake", fake_scores);
    losses.set("chosen", real_scores);
    losses.set("rejected", fake_scores);
    losses.total_sequences = batch.total;
    losses.total_pairs = batch.total;
    into.sums["mean:pair_accuracy"] +=
        real_scores.detach().gt(fake_scores.detach()).to(at::kDouble).sum().item<double>();
    return keep_ * known + evaluate_terms(terms_, losses, batch.rows, into);
  }

 private:
  Rows rows_;
  std::vector<UpdateTerm> terms_;
  ClassScore score_;
  double keep_;
};

}  // namespace

struct OptimizeClassifier final : Node {
  State<AdamW> adam{this, "adam"};
  Writes<Encoder> encoder{this, "encoder", "the classifier to train"};
  Input<Images> images{this, "images", "real ones, with their classes"};
  Optional<Images> fake{this, "fake", "generated ones of the same classes, row by row"};
  Optional<Scalar> turn{this, "turn", "0: nothing is trained in this iteration"};
  Inputs<LossTerm> terms{this, "terms", "with fake: losses on the scores of both", 0};
  Output<Encoder> trained{
      this, "encoder", "the classifier after the update", {.same_as = "encoder"}};
  OptimizerParams optimizer{this, 1e-3};
  Param<ClassScore> score{this, "score", ClassScore::log_probability,
                          "what is compared where generated images are given"};
  Param<double> keep{
      this, "keep", 0.0, "with fake: factor of the classes' cross-entropy", {.min = 0}};
  Rule end{this, OptimizerParams::needs_end()};
  Rule compared{this,
                {{{"fake", {{"connected", true}}}},
                 {{"terms", {{"connected", true}}}},
                 "generated images need a loss that compares them with real ones",
                 "connect loss.bradley_terry, or loss.discriminator"}};
  Supplies supplied{this, {"real", "fake", "chosen", "rejected"}};
  TraitsMember traits{this, {.effect = true, .trains = true}};
  Synonyms words{this, {"cross-entropy", "image classifier", "PickScore", "co-training"}};
  Doc doc{
      this,
      "Cross-entropy of the classes. With fake: losses on the score that images get for their "
      "class, real (chosen) against generated (rejected): loss.bradley_terry is the pair "
      "cross-entropy by which Adv-GRPO trains PickScore. Metrics: loss, accuracy, pair_accuracy."};

  void run(Step& step) const override {
    EncoderNet& net = step.write<EncoderNet>(encoder);
    if (has_turn(step, turn)) train(step, net);
    step[trained] = step.pass(encoder);
  }

 private:
  void train(Step& step, EncoderNet& net) const {
    const Images& in = step[images];
    require_image_shape(in.images, net.shape.chw(), "the encoder");
    ClassifierObjective::Rows rows{net.like_weights(in.images).contiguous(),
                                   require_labels(in.labels, in.images.size(0), net.shape.classes),
                                   {}};
    if (const Images* const other = step[fake]) {
      require_image_shape(other->images, net.shape.chw(), "the encoder");
      if (!other->labels.defined() || !other->labels.equal(rows.labels)) {
        step.fail("other-rows", "real and generated images are not of the same classes row by row",
                  "take the real ones from image.references");
      }
      rows.fake = net.like_weights(other->images).contiguous();
    }
    const ClassifierObjective objective(std::move(rows), update_terms(step[terms]), score(),
                                        keep());
    UpdateOptions options = optimizer(step);
    options.micro_batch = step.micro_batch() > 0 ? step.micro_batch() : 64;
    const DescentReport report = descend_network(step, net, step[adam], objective, options);
    report_network(step, "", report, objective.rows() * options.epochs);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OptimizeClassifier, "Classifier of images: update", "arXiv:2511.20256")
