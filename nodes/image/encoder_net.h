// A small convolutional classifier whose features are read: one vector per image, one per patch.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "nodes/image/network.h"

namespace rewardloom {

struct EncoderNetShape {
  std::int64_t channels = 1, height = 8, width = 8;  ///< height and width even
  std::int64_t classes = 10;
  std::int64_t filters = 16;   ///< of the first layer
  std::int64_t features = 64;  ///< D, of patches and images
  std::vector<std::int64_t> chw() const { return {channels, height, width}; }
};

struct EncodedImages {
  at::Tensor global;   ///< [N,D]
  at::Tensor patches;  ///< [N,P,D], P = H/2 * W/2
  at::Tensor logits;   ///< [N,K]
};

/// images [N,C,H,W]: 3x3 convolution, 2x2 convolution of stride 2 (patches), all of them linearly
/// (global), then the classes; ReLU in between. Differentiable in weights and images.
EncodedImages encode_images(const TensorMap& weights, const at::Tensor& images);

TensorMap draw_encoder_weights(const EncoderNetShape& shape, const Random& stream);

class EncoderNet final : public Network {
 public:
  static std::string kind_name() { return "image encoder"; }
  std::string kind() const override { return kind_name(); }
  std::shared_ptr<EncoderNet> copy() const;
  /// Without gradients. Failure `bad-shape`.
  EncodedImages encode(const at::Tensor& images) const;

  EncoderNetShape shape;
};

}  // namespace rewardloom
