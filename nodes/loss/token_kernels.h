// Losses of single tokens in one pass over float32 rows on the CPU. They give what the operators of
// the same losses give; those serve every other device and type.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <initializer_list>
#include <optional>

#include "nodes/loss/kl.h"
#include "nodes/loss/policy_clip.h"

namespace rewardloom {

/// Per token [N,T], 0 outside the mask: a loss, and its derivative by the trained input; and means
/// over the mask of what is logged with it.
struct TokenPass {
  at::Tensor value;
  at::Tensor derivative;
  std::array<double, 3> means{};
};

/// Whether the mask [N,T] and all inputs (of the same sizes) are what the passes can take.
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

/// The values of the pass as a function of the input that was trained.
at::Tensor differentiable(const at::Tensor& input, const TokenPass& pass);

}  // namespace rewardloom
