#include "nodes/loss/uncertain_consistency.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/loss/known_derivative.h"
#include "nodes/loss/pixel_pass.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// What both forms are given, checked.
struct Pictures {
  at::Tensor first, second;  ///< [N,K,H,W] logits
  at::Tensor labels;         ///< [N,H,W]
  at::Tensor rows;           ///< [N] bool: those whose timestep counts
};

Pictures pictures_of(const LossBatch& batch, const UncertainConsistencyOptions& options) {
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
  return {logits, second, labels.to(at::kLong), rows};
}

/// Labels of rows that do not count may be anything: they become `ignore`. Failure `bad-index`.
at::Tensor checked_labels(const Pictures& p, std::int64_t ignore) {
  const at::Tensor other = at::full({}, ignore, p.labels.options());
  const at::Tensor labels = at::where(p.rows.reshape({-1, 1, 1}), p.labels, other);
  const std::int64_t classes = p.first.size(1);
  const at::Tensor wrong = labels.masked_select(
      labels.ne(ignore).logical_and((labels < 0).logical_or(labels >= classes)));
  if (wrong.numel() > 0) throw no_such_class(wrong[0].item<std::int64_t>(), classes);
  return labels;
}

/// Mean over the labelled pixels of cross-entropy * exp(-U): [N]. first: log-probs [N,K,H,W].
at::Tensor damped_cross_entropy(const at::Tensor& first, const at::Tensor& labels,
                                const at::Tensor& uncertainty, std::int64_t ignore) {
  const at::Tensor labelled = labels.ne(ignore);
  const at::Tensor index = at::where(labelled, labels, at::zeros_like(labels)).unsqueeze(1);
  const at::Tensor damped = -first.gather(1, index).squeeze(1) * (-uncertainty).exp();
  const at::Tensor kept = at::where(labelled, damped, at::zeros_like(damped.detach()));
  return kept.sum({1, 2}) / labelled.sum({1, 2}).clamp_min(1).to(kept.scalar_type());
}

/// Means over each row: damped cross-entropy and uncertainty, [N]; their weighted sum, with
/// gradient, [].
struct Terms {
  at::Tensor damped, spread, loss;
};

/// weight and total: of the consistency, and what both terms are divided by [].
Terms terms_of(const Pictures& p, const UncertainConsistencyOptions& options, double weight,
               const at::Tensor& total) {
  const at::Tensor kept = p.rows.reshape({-1, 1, 1, 1});
  const at::Tensor zero = at::zeros({}, p.first.options().requires_grad(false));
  const at::Tensor first = at::where(kept, p.first, zero).log_softmax(1);
  const at::Tensor second = at::where(kept, p.second, zero).log_softmax(1);
  const at::Tensor uncertainty = options.u_scale * (second.exp() * (second - first)).sum(1);
  const auto of_rows = [&](const at::Tensor& x) { return at::where(p.rows, x, zero); };
  const at::Tensor damped = of_rows(
      damped_cross_entropy(first, checked_labels(p, options.ignore), uncertainty, options.ignore));
  const at::Tensor spread = of_rows(uncertainty.mean(at::IntArrayRef{1, 2}));
  return {damped.detach(), spread.detach(), (weight * damped.sum() + spread.sum()) / total};
}

/// The same in one pass.
Terms passed_terms(const Pictures& p, const UncertainConsistencyOptions& options, double weight,
                   const at::Tensor& total) {
  const double share = 1 / total.item<double>();
  const PixelPass pass = pixel_pass(p.first, p.second, p.labels, p.rows,
                                    {weight * share, share, options.u_scale, options.ignore});
  const at::Tensor loss = share * (weight * pass.damped.sum() + pass.spread.sum());
  return {pass.damped, pass.spread,
          with_derivatives(loss, p.first, pass.by_first, p.second, pass.by_second)};
}

double ramp(const UncertainConsistencyOptions& options) {
  if (options.ramp_steps == 0) return 1;
  return std::min(1.0, static_cast<double>(options.step) / static_cast<double>(options.ramp_steps));
}

}  // namespace

LossResult uncertain_consistency_loss(const LossBatch& batch,
                                      const UncertainConsistencyOptions& options) {
  const Pictures p = pictures_of(batch, options);
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(p.rows.size(0)),
                       "divides by the rows of a step whose timestep counts");
  }
  const at::Tensor here = p.rows.sum().clamp_min(1).to(p.first.scalar_type());
  const at::Tensor total =
      batch.total_weight ? at::full({}, *batch.total_weight, here.options()) : here;
  const double weight = ramp(options) * options.grad_scale;
  const Terms terms = fits_pixel_pass(p.first, p.second, p.labels, p.rows)
                          ? passed_terms(p, options, weight, total)
                          : terms_of(p, options, weight, total);
  LossResult result;
  result.loss = terms.loss;
  if (batch.has("base_loss")) result.loss = result.loss + batch.at("base_loss").reshape({});
  result.outputs = {{"consistency", terms.damped.sum() / here},
                    {"uncertainty", terms.spread.sum() / here}};
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
          "<= t_max; exp(-U) has gradient. Both means are taken per row, then over those rows: the "
          "cross-entropy's over the row's pixels that are not labelled `ignore` (0 where there are "
          "none), U's over all its pixels.\n"
          "consistency, uncertainty: the two means. Micro-batches need total_weight, the number of "
          "the step's rows that count, and the share of base_loss that is theirs."};

  LossResult evaluate(const LossBatch& batch) const override {
    return uncertain_consistency_loss(
        batch, {grad_scale(), u_scale(), ramp_steps(), step(), t_min(), t_max(), ignore()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(UncertainConsistency, "Uncertainty-damped consistency (Ctrl-U)", "")
