#include "nodes/model/head_net.h"

#include <c10/core/GradMode.h>
#include <torch/types.h>

#include "engine/core/problem.h"

namespace rewardloom {

at::Tensor head_logits(const TensorMap& weights, const at::Tensor& features) {
  return linear_layer(weights, "score", at::gelu(linear_layer(weights, "hidden", features)))
      .squeeze(-1);
}

TensorMap draw_head_weights(std::int64_t features, std::int64_t hidden, const Random& stream) {
  const WeightDraws draws(stream);
  TensorMap out;
  draws.layer(out, "hidden", {hidden, features});
  draws.layer(out, "score", {1, hidden});
  return out;
}

std::shared_ptr<HeadNet> HeadNet::copy() const {
  auto out = std::make_shared<HeadNet>();
  for (const auto& [name, tensor] : weights) out->weights[name] = tensor.clone();
  return out;
}

void require_head_features(const HeadNet& head, const at::Tensor& global,
                           const at::Tensor& patches) {
  if (global.dim() == 2 && patches.dim() == 3 && patches.size(0) == global.size(0) &&
      patches.size(1) > 0 && patches.size(2) == head.features() &&
      global.size(1) == head.features()) {
    return;
  }
  throw Failure("bad-shape",
                c10::str("global features are ", global.sizes(), ", patch features ",
                         patches.sizes(), ", and the head takes ", head.features(), " numbers"),
                "they are [N,D] and [N,P,D]; set the head's features to the encoder's");
}

at::Tensor unit_features(const at::Tensor& features) {
  return features / (features.norm(2, {-1}, true) + 1e-6);
}

at::Tensor head_reward(const HeadNet& head, const at::Tensor& global, const at::Tensor& patches,
                       double global_weight, bool normalise) {
  require_head_features(head, global, patches);
  const c10::AutoGradMode without_gradients(false);
  const auto scores = [&](const at::Tensor& features) {
    const at::Tensor x = head.like_weights(features);
    return head_logits(head.weights, normalise ? unit_features(x) : x);
  };
  return global_weight * scores(global) + (1 - global_weight) * scores(patches).mean(1);
}

}  // namespace rewardloom
