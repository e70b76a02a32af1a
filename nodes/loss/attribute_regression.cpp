#include "nodes/loss/attribute_regression.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {

LossResult attribute_regression_loss(const LossBatch& batch, double mask_value) {
  const at::Tensor& predictions = batch.at("predictions");
  if (predictions.dim() != 2) {
    throw Failure("bad-shape",
                  c10::str("predictions is ", predictions.sizes(), ", but must be [N,K]"),
                  "give one prediction per row and attribute");
  }
  const at::Tensor labels = argument_like(batch, "labels", predictions, "predictions")
                                .detach()
                                .to(predictions.scalar_type());
  const at::Tensor there = labels.ne(mask_value);
  const at::Tensor zero = at::zeros({}, labels.options());
  const at::Tensor error = at::where(there, predictions, zero) - at::where(there, labels, zero);
  const at::Tensor count = there.sum();
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(labels.size(0)),
                       "divides by the labels of all rows of a step");
  }
  LossResult result;
  result.loss = divided_by(error.square().sum(), batch.total_weight, count);
  result.outputs = {{"error", divided_by(error.detach().abs().sum(), {}, count)},
                    {"labels_here", count.to(error.scalar_type())}};
  return result;
}

struct AttributeRegression final : LossNode {
  Argument predictions{this, "predictions", "N,K", "one per attribute", {.differentiable = true}};
  Argument labels = Argument::with_port<Values>(this, "labels", "N,K",
                                                "ratings; mask_value where one is missing");
  Param<double> mask_value{this, "mask_value", -100.0, "the label that says that there is none"};
  Synonyms words{this, {"reward model", "SteerLM", "HelpSteer", "multi-attribute", "MSE"}};
  Doc doc{this,
          "loss = sum of (predictions - labels)^2 / number of labels that are there [N,K].\n"
          "error: mean absolute error; labels_here: how many labels are there. Micro-batches need "
          "total_weight, the number of the step's labels."};

  LossResult evaluate(const LossBatch& batch) const override {
    return attribute_regression_loss(batch, mask_value());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(AttributeRegression, "Attribute regression", "arXiv:2410.01257")
