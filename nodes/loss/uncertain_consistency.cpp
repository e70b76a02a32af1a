#include "nodes/loss/uncertain_consistency.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// Rows whose timestep counts, and their predictions.
struct Predictions {
  at::Tensor rows;           ///< [N] bool
  at::Tensor first, second;  ///< [N,K,H,W] log-probs
  at::Tensor labels;         ///< [N,H,W]
};

Predictions predictions_of(const LossBatch& batch, const UncertainConsistencyOptions& options) {
  const at::Tensor& logits = batch.at("logits");
  const at::Tensor& labels = batch.at("labels");
  const at::Tensor& timesteps = batch.at("timesteps");
  const bool fits = logits.dim() == 4 && labels.dim() == 3 && timesteps.dim() == 1 &&
                    labels.size(0) == logits.size(0) && timesteps.size(0) == logits.size(0) &&
                    labels.sizes().slice(1) == logits.sizes().slice(2);
  if (!fits) {
    throw Failure("bad-shape",
                  c10::str("logits is ", logits.sizes(), ", but labels is ", labels.sizes(),
                           " and timesteps is ", timesteps.sizes()),
                  "they must be [N,K,H,W], [N,H,W] and [N]");
  }
  const at::Tensor second = argument_like(batch, "second_logits", logits, "logits");
  const at::Tensor rows = (timesteps >= options.t_min).logical_and(timesteps <= options.t_max);
  const at::Tensor kept = rows.reshape({-1, 1, 1, 1});
  const at::Tensor zero = at::zeros({}, logits.options().requires_grad(false));
  return {rows, at::where(kept, logits, zero).log_softmax(1),
          at::where(kept, second, zero).log_softmax(1), labels.to(at::kLong)};
}

/// Mean over the labelled pixels of cross-entropy * exp(-U): [N].
at::Tensor damped_cross_entropy(const Predictions& p, const at::Tensor& uncertainty,
                                std::int64_t ignore) {
  const at::Tensor labelled = p.labels.ne(ignore);
  const at::Tensor index = at::where(labelled, p.labels, at::zeros_like(p.labels)).unsqueeze(1);
  const at::Tensor damped = -p.first.gather(1, index).squeeze(1) * (-uncertainty).exp();
  const at::Tensor kept = at::where(labelled, damped, at::zeros_like(damped.detach()));
  return kept.sum({1, 2}) / labelled.sum({1, 2}).clamp_min(1).to(kept.scalar_type());
}

}  // namespace

LossResult uncertain_consistency_loss(const LossBatch& batch,
                                      const UncertainConsistencyOptions& options) {
  const Predictions p = predictions_of(batch, options);
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(p.rows.size(0)),
                       "divides by the rows of a step whose timestep counts");
  }
  const at::Tensor uncertainty = options.u_scale * (p.second.exp() * (p.second - p.first)).sum(1);
  const auto mean = [&](const at::Tensor& values, const std::optional<double>& total) {
    const at::Tensor kept = at::where(p.rows, values, at::zeros_like(values.detach()));
    return divided_by(kept.sum(), total, p.rows.sum());
  };
  const at::Tensor damped = damped_cross_entropy(p, uncertainty, options.ignore);
  const at::Tensor spread = uncertainty.mean(at::IntArrayRef{1, 2});
  const double ramp = options.ramp_steps == 0
                          ? 1
                          : std::min(1.0, static_cast<double>(options.step) /
                                              static_cast<double>(options.ramp_steps));
  LossResult result;
  result.loss = ramp * options.grad_scale * mean(damped, batch.total_weight) +
                mean(spread, batch.total_weight);
  if (batch.has("base_loss")) result.loss = result.loss + batch.at("base_loss").reshape({});
  result.outputs = {{"consistency", mean(damped.detach(), {})},
                    {"uncertainty", mean(spread.detach(), {})}};
  return result;
}

struct UncertainConsistency final : LossNode {
  Argument logits{
      this, "logits", "N,K,H,W", "perception of the first pass's image", {.differentiable = true}};
  Argument second_logits{this,
                         "second_logits",
                         "N,K,H,W",
                         "perception of the second pass's image",
                         {.differentiable = true}};
  Argument labels{this, "labels", "N,H,W", "the control: a class per pixel"};
  Argument timesteps{this, "timesteps", "N", "of the first pass"};
  Argument base_loss{
      this, "base_loss", "", "denoising loss", {.optional = true, .differentiable = true}};
  Param<double> grad_scale{this, "grad_scale", 0.1, "factor of the consistency", {.min = 0}};
  Param<double> u_scale{this, "u_scale", 1.0, "factor of the uncertainty", {.min = 0}};
  Param<std::int64_t> ramp_steps{
      this, "ramp_steps", 5000, "steps over which grad_scale rises from 0", {.min = 0}};
  Param<std::int64_t> step{this, "step", 0, "the present step of that ramp", {.min = 0}};
  Param<std::int64_t> t_min{this, "t_min", 0, "first timestep that counts"};
  Param<std::int64_t> t_max{this, "t_max", 400, "last timestep that counts"};
  Param<std::int64_t> ignore{this, "ignore", 255, "label of pixels that do not count"};
  Synonyms words{this, {"Ctrl-U", "ControlNet++", "uncertainty", "controllable generation"}};
  Doc doc{this,
          "U = u_scale * KL(second || first) per pixel [N,H,W]; loss = base_loss + ramp * "
          "grad_scale * mean(cross-entropy * exp(-U)) + mean(U), over rows with t_min <= timestep "
          "<= t_max; exp(-U) has gradient.\n"
          "consistency, uncertainty: the two means. Micro-batches need total_weight, the number of "
          "the step's rows that count, and the share of base_loss that is theirs."};

  LossResult evaluate(const LossBatch& batch) const override {
    return uncertain_consistency_loss(
        batch, {grad_scale(), u_scale(), ramp_steps(), step(), t_min(), t_max(), ignore()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(UncertainConsistency, "Uncertainty-damped consistency (Ctrl-U)", "")
