// CLIPScore of image-text pairs as reward of a classification.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class ClipBaseline { none, mean, mean_std };
constexpr auto choices(ClipBaseline) {
  return std::to_array<Choice<ClipBaseline>>({
      {ClipBaseline::none, "none", "the score as it is"},
      {ClipBaseline::mean, "mean", "minus the mean over the image's candidates"},
      {ClipBaseline::mean_std, "mean_std", "and divided by their sample standard deviation + 1e-5"},
  });
}

/// One encoder: scale * max(0, image . text) for each image and its candidate texts. image [N,D]
/// and text [C,D] of unit length, classes [N,K] int64 -> [N,K]. Failure `bad-shape`, `bad-class`.
/// Hessel et al. 2021, arXiv:2104.08718.
at::Tensor clip_scores(const at::Tensor& image, const at::Tensor& text, const at::Tensor& classes,
                       double scale);

/// scores [E,N,K] of E encoders -> [N,K]: their weighted sum (their mean without weights), minus
/// the baseline. Failure `bad-weights` unless there is one weight per encoder and they add up to
/// more than 0. Zhao et al. 2024, "Test-Time Adaptation with CLIP Reward", arXiv:2305.18010.
at::Tensor pooled_clip_scores(const at::Tensor& scores, const std::vector<double>& weights,
                              ClipBaseline baseline);

}  // namespace rewardloom
