#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"

namespace rewardloom {

struct ValueCrossEntropy final : LossNode {
  Argument values{this, "values", "N,T", "logits of a value model", {.differentiable = true}};
  Argument labels = Argument::with_port<Returns>(this, "labels", "N,T", "in 0 .. 1, soft or hard");
  Argument mask{this, "mask", "N,T", "the tokens that have a label"};
  AggregateParams aggregate{this};
  Synonyms words{this, {"BCE", "binary cross-entropy", "PRM", "process reward model"}};
  Doc doc{this,
          "token loss = log(1 + e^v) - R v [N,T]: binary cross-entropy of sigmoid(values) with "
          "labels R, such as reward.step_labels gives. Labels outside 0 .. 1 are refused."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    const at::Tensor v = masked_argument(batch, "values", tokens);
    const at::Tensor label = masked_argument(batch, "labels", tokens).detach().to(v.scalar_type());
    if (label.lt(0).logical_or(label.gt(1)).any().item<bool>()) {
      throw Failure("label-range",
                    c10::str("the labels lie in ", label.min().item<double>(), " .. ",
                             label.max().item<double>()),
                    "cross-entropy needs labels in 0 .. 1; loss.value_clip takes any");
    }
    const at::Tensor token_loss = v.clamp_min(0) + (-v.abs()).exp().log1p() - label * v;
    LossResult result;
    result.loss = rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    result.outputs = {{"error", masked_mean((v.detach().sigmoid() - label).abs(), tokens)}};
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ValueCrossEntropy, "Cross-entropy of values", "arXiv:2312.08935")
