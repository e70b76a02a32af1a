// Losses of single tokens in one pass over float32 rows on the CPU. They give what the operators of
// the same losses give; those serve every other device and type.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <initializer_list>
#include <optional>

#include "nodes/loss/kl.h"
#include "nodes/loss/policy_clip.h"
#include "nodes/loss/token_weight.h"

namespace rewardloom {

/// Per token [N,T], 0 outside the mask: a loss, and its derivative by the trained input; and means
/// over the mask of what is logged with it.
struct TokenPass {
  at::Tensor value;
  at::Tensor derivative;
  std::array<double, 3> means{};
  at::Tensor covariance;  ///< [N,T], of covariance_pass alone
};

/// Whether the mask [N,T] and all inputs (of the same sizes) are what the passes can take. What
/// stands outside the mask has no influence, whatever it is.
bool fits_token_pass(const at::Tensor& mask, std::initializer_list<at::Tensor> inputs);

/// Means: clipped tokens, tokens at the dual bound, -log-ratio.
TokenPass clip_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                    const at::Tensor& old_log_probs, const at::Tensor& advantages,
                    const PolicyClipOptions& options);
/// -clamp(ratio) A log_probs, the ratio a constant. Means: clamped tokens, -log-ratio.
TokenPass cispo_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                     const at::Tensor& old_log_probs, const at::Tensor& advantages,
                     const std::optional<double>& log_ratio_clamp, double least, double most);
/// Estimators without a straight-through gradient, without weights. Means: the estimate, tokens at
/// a clamp.
TokenPass kl_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                  const at::Tensor& ref_log_probs, const KlOptions& options);
/// max((v - R)^2, (clamp(v, old +- clip) - R)^2). Means: tokens whose clipped branch is larger.
TokenPass value_pass(const at::Tensor& mask, const at::Tensor& values, const at::Tensor& old_values,
                     const at::Tensor& returns, double clip);

/// factor * x * a * b; a and b may be undefined. Means: x.
TokenPass linear_pass(const at::Tensor& mask, const at::Tensor& x, double factor,
                      const at::Tensor& a = {}, const at::Tensor& b = {});
/// -A sigmoid(tau (ratio - 1)) 4 / tau. Means: -log-ratio.
TokenPass sapo_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                    const at::Tensor& old_log_probs, const at::Tensor& advantages,
                    const SapoOptions& options);
/// log(1 + e^v) - label v. Means: |sigmoid(v) - label|, labels outside 0 .. 1.
TokenPass cross_entropy_pass(const at::Tensor& mask, const at::Tensor& values,
                             const at::Tensor& labels);
/// The clipped policy gradient with a log-ratio of any size; low and high may be infinite. Its
/// covariance is that of advantages and log-probs, both less their mean over the mask; -infinity
/// where a token is clipped or outside. Means as clip_pass.
TokenPass covariance_pass(const at::Tensor& mask, const at::Tensor& log_probs,
                          const at::Tensor& old_log_probs, const at::Tensor& advantages, double low,
                          double high);

/// The values of the pass as a function of the input that was trained.
at::Tensor differentiable(const at::Tensor& input, const TokenPass& pass);

/// Sums of x [N,T] over the tokens of each row [N], with gradient.
at::Tensor row_sums(const at::Tensor& mask, const at::Tensor& x);

/// Sums over the tokens of each row, constant, [N] double: of x - old held within +-limit, of a,
/// and of x - old.
std::array<at::Tensor, 3> ratio_sums(const at::Tensor& mask, const at::Tensor& x,
                                     const at::Tensor& old, const at::Tensor& a, double limit);
/// Of each row, [N]: the sum of x - old, with gradient by x; sums of a where it is above 0 and
/// where it is below; how many tokens either has.
struct SignedSums {
  at::Tensor log_ratio;
  at::Tensor positive, negative;
  at::Tensor positive_count, negative_count;
};
SignedSums signed_sums(const at::Tensor& mask, const at::Tensor& x, const at::Tensor& old,
                       const at::Tensor& a);
/// Of log-ratios x - old, held at most at high where a > 0, at least at -low where a < 0, 0 where a
/// is 0: their sums [N], with gradient by x, and those of a [N]; shares of tokens outside [-low,
/// high] with a > 0, and with a < 0; mean of old - x [].
struct OneSidedSums {
  at::Tensor held, a;
  at::Tensor above_0, below_0, approx_kl;
};
OneSidedSums one_sided_sums(const at::Tensor& mask, const at::Tensor& x, const at::Tensor& old,
                            const at::Tensor& a, double low, double high);
/// Of a policy's rows against a reference and a guide, without a mask: sum over tokens of
/// beta (1 + scale (guide - reference)) (x - reference), with gradient by x: [N].
at::Tensor guided_sums(const at::Tensor& x, const at::Tensor& reference, const at::Tensor& guide,
                       double beta, double scale);
/// Whether all inputs are what guided_sums can take: float32 rows of one size on the CPU.
bool fits_guided_sums(std::initializer_list<at::Tensor> inputs);

}  // namespace rewardloom
