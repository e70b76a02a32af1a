// What a classifier says of the class that an image should show.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"
#include "nodes/image/encoder_net.h"

namespace rewardloom {

enum class ClassScore { probability, log_probability, logit, cosine, correct };
constexpr auto choices(ClassScore) {
  return std::to_array<Choice<ClassScore>>({
      {ClassScore::probability, "probability", "of the class: the classifier's confidence"},
      {ClassScore::log_probability, "log_probability", "its logarithm"},
      {ClassScore::logit, "logit", "of the class, before the softmax"},
      {ClassScore::cosine, "cosine", "of the image's feature and the class's weights"},
      {ClassScore::correct, "correct", "1 where the class is the likeliest, else 0"},
  });
}

/// encoded.logits [N,K], encoded.global [N,D], class weights [K,D], labels [N] -> [N].
at::Tensor class_scores(const EncodedImages& encoded, const at::Tensor& class_weights,
                        const at::Tensor& labels, ClassScore score);

}  // namespace rewardloom
