// The head of a discriminator over frozen features.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "nodes/image/network.h"

namespace rewardloom {

/// h = Linear(D, hidden) - GELU - Linear(hidden, 1): features [...,D] -> [...]. Adv-GRPO,
/// arXiv:2511.20256.
at::Tensor head_logits(const TensorMap& weights, const at::Tensor& features);

TensorMap draw_head_weights(std::int64_t features, std::int64_t hidden, const Random& stream);

class HeadNet final : public Network {
 public:
  static std::string kind_name() { return "discriminator head"; }
  std::string kind() const override { return kind_name(); }
  std::shared_ptr<HeadNet> copy() const;
  std::int64_t features() const { return weights.at("hidden.weight").size(1); }
};

/// global_weight * h(global) + (1 - global_weight) * mean over patches of h(patch); features are
/// divided by (their norm + 1e-6) if normalise. global [N,D], patches [N,P,D] -> [N]. Failure
/// `bad-shape`.
at::Tensor head_reward(const HeadNet& head, const at::Tensor& global, const at::Tensor& patches,
                       double global_weight, bool normalise);

/// Failure `bad-shape` unless global is [N,D] and patches [N,P,D] with the head's D.
void require_head_features(const HeadNet& head, const at::Tensor& global,
                           const at::Tensor& patches);

/// x / (norm + 1e-6) along the last dimension.
at::Tensor unit_features(const at::Tensor& features);

}  // namespace rewardloom
