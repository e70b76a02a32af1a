#include "nodes/loss/discriminator.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// Half the hinge losses of each row's patches, averaged: [N].
at::Tensor patch_rows(const LossBatch& batch, const at::Tensor& real) {
  const at::Tensor& patches = batch.at("real_patch");
  if (patches.dim() != 2 || patches.size(0) != real.size(0) || patches.size(1) == 0) {
    throw Failure("bad-shape",
                  c10::str("real_patch is ", patches.sizes(), ", but real is ", real.sizes()),
                  "patches are [N,P] for the same images");
  }
  const at::Tensor fake = argument_like(batch, "fake_patch", patches, "real_patch");
  return (0.5 * ((1 - patches).relu() + (1 + fake).relu())).mean(-1);
}

/// X is a tensor or a dual number of some images.
template <class X>
REWARDLOOM_INLINE X logit_losses(const X& real, const X& fake, DiscriminatorKind kind) {
  if (kind == DiscriminatorKind::bce) return 0.5 * (logistic_loss(real) + logistic_loss(-fake));
  return 0.5 * (relu(1 - real) + relu(1 + fake));
}

/// Sums: images on the right side.
REWARDLOOM_VECTORISED
PassSums logit_rows(const PassPlaces& places, DiscriminatorKind kind) {
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        PassTerms<2> terms{
            logit_losses(trained<2>(rows.in[0], 0), trained<2>(rows.in[1], 1), kind)};
        terms.sums[0] = vector_math::one_where(rows.in[0] > Floats{}) +
                        vector_math::one_where(rows.in[1] < Floats{});
        return terms;
      });
}

LossResult on_logits(const LossBatch& batch, const DiscriminatorOptions& options) {
  const at::Tensor real = row_argument(batch, "real");
  const at::Tensor fake = argument_like(batch, "fake", real, "real");
  LossResult result;
  if (fits_row_pass({real, fake})) {
    LossPass pass({real, fake}, {}, {.trained = 2});
    pass.set(logit_rows(pass.places(), options.kind));
    result.loss = row_mean_of(pass.sum(), pass.rows(), batch);
    result.outputs = {{"accuracy", logged_number(0.5 * pass.mean_of(0))}};
  } else {
    result.loss = row_mean(logit_losses(real, fake, options.kind), batch);
    const auto share = [](const at::Tensor& right) { return plain_mean(right.to(at::kDouble)); };
    const at::Tensor right = 0.5 * (share(real.detach() > 0) + share(fake.detach() < 0));
    result.outputs = {{"accuracy", right.to(real.scalar_type())}};
  }
  const bool patches = batch.has("real_patch") || batch.has("fake_patch");
  if (patches && options.kind == DiscriminatorKind::hinge) {
    result.loss = result.loss + options.patch_weight * row_mean(patch_rows(batch, real), batch);
  }
  return result;
}

LossResult on_pairs(const LossBatch& batch, const DiscriminatorOptions& options) {
  const at::Tensor& text = batch.at("text_features");
  if (text.dim() != 2) {
    throw Failure("bad-shape", c10::str("text_features is ", text.sizes(), ", but must be [N,D]"),
                  "give one feature vector per text");
  }
  const at::Tensor real = argument_like(batch, "real_features", text, "text_features");
  const at::Tensor fake = argument_like(batch, "fake_features", text, "text_features");
  const at::Tensor gap = options.logit_scale * (text * (real - fake)).sum(-1);
  LossResult result;
  result.loss = row_mean(logistic_loss(gap), batch);
  result.outputs = {{"accuracy", plain_mean((gap.detach() > 0).to(gap.scalar_type()))}};
  return result;
}

}  // namespace

LossResult discriminator_loss(const LossBatch& batch, const DiscriminatorOptions& options) {
  return options.kind == DiscriminatorKind::pair_cross_entropy ? on_pairs(batch, options)
                                                               : on_logits(batch, options);
}

struct DiscriminatorLoss final : LossNode {
  static constexpr ArgumentOptions kTrained{.optional = true, .differentiable = true};
  Argument real{this, "real", "N", "logits of real images (hinge, bce)", kTrained};
  Argument fake{this, "fake", "N", "logits of generated images (hinge, bce)", kTrained};
  Argument real_patch{this, "real_patch", "N,P", "logits of their patches (hinge)", kTrained};
  Argument fake_patch{this, "fake_patch", "N,P", "logits of their patches (hinge)", kTrained};
  Argument text_features{this, "text_features", "N,D", "unit length (pairs)", kTrained};
  Argument real_features{this, "real_features", "N,D", "unit length (pairs)", kTrained};
  Argument fake_features{this, "fake_features", "N,D", "unit length (pairs)", kTrained};
  Param<DiscriminatorKind> kind{this, "kind", DiscriminatorKind::hinge, "which loss"};
  Param<double> patch_weight{
      this, "patch_weight", 0.3, "hinge: factor of the patches' loss", {.min = 0}};
  Param<double> logit_scale{this,
                            "logit_scale",
                            1.0,
                            "pair_cross_entropy: factor of the cosines",
                            {.min = 0, .exclusive_min = true}};
  Synonyms words{this, {"GAN", "Adv-GRPO", "adversarial", "PickScore", "hinge"}};
  Doc doc{
      this,
      "hinge: loss = (mean max(0, 1 - real) + mean max(0, 1 + fake)) / 2, + patch_weight * the "
      "same over patches; bce: (mean -log sigmoid(real) + mean -log sigmoid(-fake)) / 2; "
      "pair_cross_entropy: mean of -log sigmoid(logit_scale text . (real - fake)). There are as "
      "many real as generated images: a step is cut into micro-batches by rows that hold one of "
      "each.\n"
      "accuracy: share of images (or pairs) on the right side."};

  LossResult evaluate(const LossBatch& batch) const override {
    return discriminator_loss(batch, {kind(), patch_weight(), logit_scale()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DiscriminatorLoss, "Discriminator", "arXiv:2511.20256")
