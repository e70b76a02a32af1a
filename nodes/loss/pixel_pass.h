// The two terms of uncertainty-damped consistency in one pass over float32 pixels on the CPU. They
// give what the operators give; those serve every other device and type.
#pragma once
#include <ATen/core/Tensor.h>

namespace rewardloom {

/// Weights of the two terms, and what a label is that does not count.
struct PixelWeights {
  double consistency = 1;  ///< of a row's mean of cross-entropy * exp(-U) over its labelled pixels
  double uncertainty = 1;  ///< of a row's mean of U
  double u_scale = 1;      ///< U = u_scale * KL(second || first)
  std::int64_t ignore = 255;
};

/// Sums over rows of the weighted means, and both derivatives of that by logits [N,K,H,W].
struct PixelPass {
  at::Tensor damped;  ///< [N] a row's mean of cross-entropy * exp(-U)
  at::Tensor spread;  ///< [N] a row's mean of U
  at::Tensor by_first, by_second;
};

/// Whether the logits are what the pass can take: float32 on the CPU, labels int64 within their
/// classes or `ignore`.
bool fits_pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels);

/// first, second [N,K,H,W], labels [N,H,W] int64, rows [N] bool: those that count, the others are 0
/// whatever stands there. Failure `bad-index` for a label that is no class.
PixelPass pixel_pass(const at::Tensor& first, const at::Tensor& second, const at::Tensor& labels,
                     const at::Tensor& rows, const PixelWeights& weights);

}  // namespace rewardloom
