// The two terms of uncertainty-damped consistency in one pass over float32 pixels on the CPU. They
// give what the operators give; those serve every other device and type.
#pragma once
#include <ATen/core/Tensor.h>

#include "engine/core/problem.h"

namespace rewardloom {

/// Weights of the two terms, and what a label is that does not count.
struct PixelWeights {
  double consistency = 1;  ///< of a row's mean of cross-entropy * exp(-U) over its labelled pixels
  double uncertainty = 1;  ///< of a row's mean of U
  double u_scale = 1;      ///< U = u_scale * KL(second || first)
  std::int64_t ignore = 255;
};

/// The two means of each row, and the derivatives by both logits of the sum over rows of their
/// weighted sum.
struct PixelPass {
  at::Tensor damped;               ///< [N] a row's mean of cross-entropy * exp(-U)
  at::Tensor spread;               ///< [N] a row's mean of U
  at::Tensor by_first, by_second;  ///< [N,K,H,W]
};

/// Whether the pass can take these: all on the CPU, logits float32 [N,K,H,W].
bool fits_pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                     const at::Tensor& rows);

/// `bad-index` for a label that is no class.
Failure no_such_class(std::int64_t label, std::int64_t classes);

/// first, second [N,K,H,W], labels [N,H,W], rows [N] bool: those that count, the others are 0
/// whatever stands there. Failure `bad-index` for a label that is no class.
PixelPass pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                     const at::Tensor& rows, const PixelWeights& weights);

}  // namespace rewardloom
