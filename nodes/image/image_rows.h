// Which rows of a set of images a split holds, and what they look like.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "engine/core/node.h"
#include "engine/core/random.h"
#include "nodes/image/image_files.h"

namespace rewardloom {

enum class ImageSplit { train, held_out, reference, all };
constexpr auto choices(ImageSplit) {
  return std::to_array<Choice<ImageSplit>>({
      {ImageSplit::train, "train", "to learn from"},
      {ImageSplit::held_out, "held_out", "to measure with"},
      {ImageSplit::reference, "reference", "the target of a style, or positives"},
      {ImageSplit::all, "all", "every row"},
  });
}

struct ImageSplitOptions {
  ImageSplit split = ImageSplit::train;
  double held_out_share = 0.3;
  double reference_share = 0.1;
  std::int64_t per_class = 0;  ///< at most so many rows of each class, the first ones; 0: all
  double label_noise = 0;      ///< share of rows whose class is drawn anew
};

/// Pixels as float in [-1,1] (`white` becomes 1, 0 becomes -1), rows by a hash of their position
/// alone. Failure `data-empty` for a split without rows, `bad-split` for shares above 1.
struct SplitImages {
  at::Tensor images;  ///< [n,C,H,W] float
  at::Tensor labels;  ///< [n] int64, with the noise
  at::Tensor row;     ///< [n] int64: position in the file
};
SplitImages split_images(const LabelledImages& all, const ImageSplitOptions& options, double white,
                         bool inverted);

}  // namespace rewardloom
