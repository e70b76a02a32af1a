// Training a discriminator on real against generated images.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class DiscriminatorKind { hinge, bce, pair_cross_entropy };
constexpr auto choices(DiscriminatorKind) {
  return std::to_array<Choice<DiscriminatorKind>>({
      {DiscriminatorKind::hinge, "hinge", "max(0, 1 - real) and max(0, 1 + fake), images, patches"},
      {DiscriminatorKind::bce, "bce", "-log sigmoid(real) and -log sigmoid(-fake)"},
      {DiscriminatorKind::pair_cross_entropy, "pair_cross_entropy",
       "which image of a pair is closer to the text (PickScore)"},
  });
}

struct DiscriminatorOptions {
  DiscriminatorKind kind = DiscriminatorKind::hinge;
  double patch_weight = 0.3;  ///< hinge: factor of the patches' loss
  double logit_scale = 1;     ///< pair_cross_entropy: factor of the cosines
};

/// hinge, bce: real, fake [N] logits; hinge also real_patch, fake_patch [N,P] or neither; half the
/// sum of the means over real and fake. pair_cross_entropy: text_features, real_features,
/// fake_features [N,D] of unit length; -log sigmoid(logit_scale text . (real - fake)).
/// -> loss [] (means over the step's rows); accuracy [] (share of logits, or pairs, on the right
/// side).
LossResult discriminator_loss(const LossBatch& batch, const DiscriminatorOptions& options);

}  // namespace rewardloom
