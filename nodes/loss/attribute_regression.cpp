#include "nodes/loss/attribute_regression.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>

#include "engine/core/registry.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// A missing label is mask_value; one that is no number would be the whole loss.
void require_finite(const at::Tensor& labels) {
  if (std::isfinite(labels.sum().item<double>())) return;
  const at::Tensor bad = labels.isfinite().logical_not().nonzero();
  if (bad.size(0) == 0) return;
  const std::int64_t row = bad[0][0].item<std::int64_t>();
  const std::int64_t attribute = bad[0][1].item<std::int64_t>();
  throw Failure({Severity::error,
                 "not-finite",
                 {"", "", "labels"},
                 fmt::format("the label of row {} for attribute {} is {}", row, attribute,
                             labels[row][attribute].item<double>()),
                 "give mask_value where a rating is missing",
                 {}});
}

/// What all labels that are there add up to.
struct Sums {
  at::Tensor squares;  ///< [], with gradient
  at::Tensor errors;   ///< [], absolute
  at::Tensor count;    ///< []
};

/// Sums: absolute errors, labels that are there.
REWARDLOOM_VECTORISED
PassSums error_rows(const PassPlaces& places, float mask_value) {
  return each_row<1>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        const Integers there = rows.in[1] != fill(mask_value);
        const Dual<1> error = where(there, trained<1>(rows.in[0], 0) - rows.in[1], Dual<1>{});
        PassTerms<1> terms{square(error)};
        terms.sums[0] = vector_math::magnitude(error.value);
        terms.sums[1] = vector_math::one_where(there);
        return terms;
      });
}

Sums summed(const at::Tensor& predictions, const at::Tensor& labels, double mask_value) {
  if (fits_row_pass({predictions, labels})) {
    LossPass pass({predictions, labels}, {}, {.trained = 1});
    pass.set(error_rows(pass.places(), static_cast<float>(mask_value)));
    return {pass.sum(), logged_number(pass.sum_of(0)), logged_number(pass.sum_of(1))};
  }
  const at::Tensor there = labels.ne(mask_value);
  const at::Tensor zero = at::zeros({}, labels.options());
  const at::Tensor error = at::where(there, predictions, zero) - at::where(there, labels, zero);
  return {error.square().sum(), error.detach().abs().sum(), there.sum().to(error.scalar_type())};
}

}  // namespace

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
  require_finite(labels);
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(labels.size(0)),
                       "divides by the labels of all rows of a step");
  }
  const Sums sums = summed(predictions, labels, mask_value);
  return {divided_by(sums.squares, batch.total_weight, sums.count),
          {{"error", divided_by(sums.errors, {}, sums.count)}, {"labels_here", sums.count}}};
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
