#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/token_kernels.h"

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
    const at::Tensor& raw = token_argument(batch, "values", tokens);
    const at::Tensor given = token_argument(batch, "labels", tokens).detach().to(raw.scalar_type());
    if (fits_token_pass(tokens, {raw, given})) {
      const TokenPass pass = cross_entropy_pass(tokens, raw, given);
      if (pass.means[1] == 0) {
        LossResult result;
        result.loss =
            rewardloom::aggregate_masked(differentiable(raw, pass), tokens, aggregate(), batch);
        result.outputs = {{"error", at::full({}, pass.means[0])}};
        return result;
      }
    }
    const at::Tensor v = on_mask(tokens, raw), label = on_mask(tokens, given);
    if (label.lt(0).logical_or(label.gt(1)).any().item<bool>()) {
      throw Failure("label-range",
                    c10::str("the labels lie in ", label.min().item<double>(), " .. ",
                             label.max().item<double>()),
                    "cross-entropy needs labels in 0 .. 1; loss.value_clip takes any");
    }
    const at::Tensor token_loss = logistic_loss(-v) - label * v;
    LossResult result;
    result.loss = rewardloom::aggregate(token_loss, tokens, aggregate(), batch);
    result.outputs = {{"error", masked_mean((v.detach().sigmoid() - label).abs(), tokens)}};
    return result;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ValueCrossEntropy, "Cross-entropy of values", "arXiv:2312.08935")
