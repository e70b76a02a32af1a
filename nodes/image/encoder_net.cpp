#include "nodes/image/encoder_net.h"

#include <c10/core/GradMode.h>
#include <torch/types.h>

namespace rewardloom {

EncodedImages encode_images(const TensorMap& w, const at::Tensor& images) {
  const at::Tensor first =
      at::relu(at::conv2d(images, w.at("edges.weight"), w.at("edges.bias"), 1, 1));
  const at::Tensor patches =
      at::relu(at::conv2d(first, w.at("patches.weight"), w.at("patches.bias"), 2));
  EncodedImages out;
  out.patches = patches.flatten(2).transpose(1, 2);
  out.global = at::relu(linear_layer(w, "global", patches.flatten(1)));
  out.logits = linear_layer(w, "classes", out.global);
  return out;
}

TensorMap draw_encoder_weights(const EncoderNetShape& shape, const Random& stream) {
  const WeightDraws draws(stream);
  const std::int64_t patches = shape.height / 2 * (shape.width / 2);
  TensorMap out;
  draws.layer(out, "edges", {shape.filters, shape.channels, 3, 3});
  draws.layer(out, "patches", {shape.features, shape.filters, 2, 2});
  draws.layer(out, "global", {shape.features, patches * shape.features});
  draws.layer(out, "classes", {shape.classes, shape.features});
  return out;
}

std::shared_ptr<EncoderNet> EncoderNet::copy() const {
  auto out = std::make_shared<EncoderNet>();
  out->shape = shape;
  for (const auto& [name, tensor] : weights) out->weights[name] = tensor.clone();
  return out;
}

EncodedImages EncoderNet::encode(const at::Tensor& images) const {
  require_image_shape(images, shape.chw(), "the encoder");
  const c10::AutoGradMode without_gradients(false);
  return encode_images(weights, like_weights(images));
}

}  // namespace rewardloom
