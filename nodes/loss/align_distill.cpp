#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/distill.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/vocabulary_kernels.h"

namespace rewardloom {
namespace {

constexpr double kSmallestWeight = 1e-3;
constexpr double kLowestLogit = -1e30;

/// What a position is distilled towards, and how far beyond the first teacher that lies.
struct Target {
  at::Tensor log_probs;  ///< [N,T,V]
  at::Tensor weight;     ///< [N,T] or []: a
  at::Tensor factor;     ///< [N,T] or []: of the KL
};

/// a = scale * L1 distance of the distributions + 0.001: [N,T].
at::Tensor adaptive_weight(const at::Tensor& first, const at::Tensor& second,
                           const AlignDistillOptions& options) {
  const at::Tensor distance =
      ((first / options.temperature).softmax(-1) - (second / options.temperature).softmax(-1))
          .abs()
          .sum(-1);
  return options.scale * distance + kSmallestWeight;
}

Target target_of(const LossBatch& batch, const at::Tensor& student, const at::Tensor& mask,
                 const AlignDistillOptions& options) {
  const auto teacher = [&](const char* name) {
    return teacher_argument(batch, name, student, mask).clamp_min(kLowestLogit);
  };
  const at::Tensor first = teacher("teacher_logits");
  const at::Tensor one = at::ones({}, first.options());
  if (options.form == AlignForm::gkd) {
    return {floored_log_softmax(first / options.temperature), one, one};
  }
  const at::Tensor second = teacher("ref_logits");
  const bool adaptive =
      options.form == AlignForm::theorem1_adaptive || options.form == AlignForm::aligndistil;
  const at::Tensor a = adaptive ? adaptive_weight(first, second, options).unsqueeze(-1)
                                : one * (options.beta / options.scale);
  const bool contrast =
      options.form == AlignForm::theorem1_contrast || options.form == AlignForm::aligndistil;
  const at::Tensor beyond = a * (first - second) + (contrast ? first : second);
  const at::Tensor weight = adaptive ? a.squeeze(-1) : a;
  return {floored_log_softmax(beyond / options.temperature), weight, options.beta / weight};
}

}  // namespace

LossResult align_distill_loss(const LossBatch& batch, const AlignDistillOptions& options) {
  const at::Tensor mask = mask_argument(batch);
  AggregateOptions how;
  how.mode =
      options.length_normalise ? Aggregate::seq_mean_token_mean : Aggregate::seq_mean_token_sum;
  const bool adapts =
      options.form == AlignForm::theorem1_adaptive || options.form == AlignForm::aligndistil;
  if (adapts && batch.has("ref_logits") &&
      fits_vocabulary_pass(
          mask, {batch.at("logits"), batch.at("teacher_logits"), batch.at("ref_logits")})) {
    const at::Tensor& z = batch.at("logits");
    const AlignPass pass =
        align_pass(mask, z, batch.at("teacher_logits"), batch.at("ref_logits"), options);
    LossResult result;
    result.loss = aggregate_masked(differentiable(z, pass.loss), mask, how, batch);
    result.outputs = {{"token_loss", pass.loss.value},
                      {"weight", masked_mean(pass.weight, mask)},
                      {"teacher_kl", masked_mean(pass.kl, mask)}};
    return result;
  }
  const at::Tensor logits = logits_argument(batch, "logits", mask);
  const Target target = target_of(batch, logits, mask, options);
  const at::Tensor student = floored_log_softmax(logits / options.temperature);
  const at::Tensor kl = (student.exp() * (student - target.log_probs)).sum(-1);
  const at::Tensor token_loss =
      at::where(mask, target.factor * kl, at::zeros({}, kl.options().requires_grad(false)));
  LossResult result;
  result.loss = aggregate(token_loss, mask, how, batch);
  result.outputs = {{"token_loss", token_loss.detach()},
                    {"weight", masked_mean(target.weight.expand(mask.sizes()), mask)},
                    {"teacher_kl", masked_mean(kl, mask)}};
  return result;
}

struct AlignDistill final : LossNode {
  Argument logits{this, "logits", "N,T,V", "of the student", {.differentiable = true}};
  Argument teacher_logits{this, "teacher_logits", "N,T,V", "of the policy trained by DPO"};
  Argument ref_logits{this,
                      "ref_logits",
                      "N,T,V",
                      "of the policy trained by DPO on swapped pairs, or of the reference; not for "
                      "gkd",
                      {.optional = true}};
  Argument mask{this, "mask", "N,T", "action tokens"};
  Param<AlignForm> form{this, "form", AlignForm::aligndistil, "what the teacher is"};
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "beta of the DPO that made the teachers",
                     {.min = 0, .exclusive_min = true}};
  Param<double> scale{this,
                      "scale",
                      15.0,
                      "theorem1, theorem1_contrast: beta_2, the KL penalty; adaptive forms: factor "
                      "of the distance",
                      {.min = 0, .exclusive_min = true}};
  Param<double> temperature{
      this, "temperature", 1.0, "divides all logits", {.min = 0, .exclusive_min = true}};
  Param<bool> length_normalise{this, "length_normalise", true,
                               "mean over rows of the token mean; else of the token sum"};
  Synonyms words{this, {"AlignDistil", "GKD", "reverse KL", "teacher", "DPO reward"}};
  Doc doc{
      this,
      "token loss = (beta / a) KL(student || softmax(teacher)) over the whole vocabulary [N,T], "
      "the teacher on the line through teacher_logits and ref_logits, a its reach.\n"
      "token_loss [N,T]: 0 outside the mask; weight: mean a; teacher_kl: mean KL to the "
      "teacher, in nats."};

  LossResult evaluate(const LossBatch& batch) const override {
    return align_distill_loss(batch, {form(), beta(), scale(), temperature(), length_normalise()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(AlignDistill, "Distillation of a DPO contrast (AlignDistil)", "arXiv:2503.02832")
