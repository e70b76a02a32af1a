#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {

struct ValueClip final : LossNode {
  Argument values{this, "values", "N,T", "current predictions", {.differentiable = true}};
  Argument old_values = Argument::with_port<Values>(this, "old_values", "N,T",
                                                    "predictions at the start of the step");
  Argument returns =
      Argument::with_port<Returns>(this, "returns", "N,T", "what is to be predicted");
  Argument mask{this, "mask", "N,T", "action tokens"};
  Param<std::optional<double>> clip{this,
                                    "clip",
                                    0.2,
                                    "farthest from the old prediction; null: plain squared error",
                                    {.min = 0, .exclusive_min = true}};
  Param<double> scale{this, "scale", 0.5, "factor in front"};
  AggregateParams aggregate{this};
  Synonyms words{this, {"critic", "value function", "PPO"}};
  Doc doc{this,
          "token loss = scale * max((v - R)^2, (clamp(v, old - clip, old + clip) - R)^2) [N,T].\n"
          "clip_fraction: share of tokens where the clipped branch is larger."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    const at::Tensor& raw = token_argument(batch, "values", tokens);
    const at::Tensor raw_target = token_argument(batch, "returns", tokens).detach();
    if (clip()) {
      const at::Tensor old = token_argument(batch, "old_values", tokens).detach();
      if (fits_token_pass(tokens, {raw, old, raw_target})) {
        const TokenPass pass = value_pass(tokens, raw, old, raw_target, *clip());
        LossResult result;
        result.loss =
            scale() * aggregate_masked(differentiable(raw, pass), tokens, aggregate(), batch);
        result.outputs = {{"clip_fraction", at::full({}, pass.means[0])}};
        return result;
      }
    }
    const at::Tensor v = on_mask(tokens, raw), target = on_mask(tokens, raw_target);
    at::Tensor token_loss = (v - target).square();
    at::Tensor larger = at::zeros_like(tokens);
    if (clip()) {
      const at::Tensor old = masked_argument(batch, "old_values", tokens).detach();
      const at::Tensor held = at::min(at::max(v, old - *clip()), old + *clip());
      const at::Tensor clipped = (held - target).square();
      larger = clipped > token_loss;
      token_loss = at::maximum(token_loss, clipped);
    }
    LossResult result;
    result.loss = scale() * rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    result.outputs = {{"clip_fraction", masked_mean(larger, tokens)}};
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ValueClip, "Clipped value regression", "arXiv:1707.06347")
