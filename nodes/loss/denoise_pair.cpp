#include "nodes/loss/denoise_pair.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

at::Tensor offset_of(const LossBatch& batch, const at::Tensor& gain, const at::Tensor& desirable,
                     DenoiseOffset kind) {
  if (kind == DenoiseOffset::none) return at::zeros({}, gain.options());
  require_whole_step(batch.total_sequences, static_cast<double>(gain.size(0)),
                     "subtracts a mean over all rows of a step");
  if (kind == DenoiseOffset::batch_mean) {
    return mean_over(gain, at::ones_like(desirable)).clamp_min(0);
  }
  return 0.5 * (mean_over(gain, desirable) + mean_over(gain, desirable.logical_not()));
}

/// gain: beta * g [N]; sign: +-1 [N].
at::Tensor utility_of(const at::Tensor& gain, const at::Tensor& sign, Utility utility) {
  switch (utility) {
    case Utility::loss_averse: return at::log_sigmoid(sign * gain);
    case Utility::risk_seeking_1: return -sign * at::log_sigmoid(-gain);
    case Utility::risk_seeking_2: return sign * bounded_exp(gain / 100) - 1;
    case Utility::risk_seeking_3: return -at::log_sigmoid(-sign * gain);
    case Utility::sigmoid: break;
  }
  return (sign * gain).sigmoid();
}

LossResult unpaired(const LossBatch& batch, const DenoisePairOptions& options) {
  const at::Tensor error = row_argument(batch, "error");
  const at::Tensor gain = argument_like(batch, "ref_error", error, "error").detach() - error;
  const at::Tensor desirable = argument_like(batch, "desirable", error, "error").to(at::kBool);
  const at::Tensor offset = offset_of(batch, gain.detach(), desirable, options.kl_offset);
  const auto by_class = [&](double yes, double no) {
    return at::where(desirable, at::full({}, yes, offset.options()),
                     at::full({}, no, offset.options()));
  };
  const at::Tensor sign = by_class(1, -1);
  const at::Tensor scaled = options.beta * (gain - offset);
  const at::Tensor losses = by_class(options.weight_desirable, options.weight_undesirable) *
                            (1 - utility_of(scaled, sign, options.utility));
  LossResult result;
  result.loss = row_mean(losses, batch);
  const at::Tensor right = (sign * scaled.detach() > 0).to(offset.scalar_type());
  result.outputs = {{"kl", offset}, {"accuracy", right.mean()}};
  return result;
}

LossResult paired(const LossBatch& batch, const DenoisePairOptions& options) {
  const at::Tensor chosen = row_argument(batch, "chosen_error");
  const auto like_chosen = [&](const char* name) {
    return argument_like(batch, name, chosen, "chosen_error");
  };
  const at::Tensor chosen_gain = like_chosen("ref_chosen_error").detach() - chosen;
  const at::Tensor rejected_gain =
      like_chosen("ref_rejected_error").detach() - like_chosen("rejected_error");
  const at::Tensor d = options.beta * (chosen_gain - rejected_gain);
  at::Tensor losses = logistic_loss(d);
  if (options.kind == DenoiseKind::soft_dpo) {
    const at::Tensor y = like_chosen("label").detach().to(d.scalar_type());
    losses = y * losses + (1 - y) * logistic_loss(-d);
  }
  if (options.similar != 0) losses = losses + options.similar * chosen;
  LossResult result;
  result.loss = pair_mean(losses, batch);
  result.outputs = {{"accuracy", (d.detach() > 0).to(d.scalar_type()).mean()},
                    {"margin", d.detach().mean()}};
  return result;
}

}  // namespace

LossResult denoise_pair_loss(const LossBatch& batch, const DenoisePairOptions& options) {
  return options.kind == DenoiseKind::kto ? unpaired(batch, options) : paired(batch, options);
}

struct DenoisePair final : LossNode {
  Argument error{this,
                 "error",
                 "N",
                 "kto: denoising error of the trained model",
                 {.optional = true, .differentiable = true}};
  Argument ref_error{this, "ref_error", "N", "kto: of the frozen model", {.optional = true}};
  Argument desirable{this, "desirable", "N", "kto: true: the image is wanted", {.optional = true}};
  Argument chosen_error{this,
                        "chosen_error",
                        "N",
                        "pairs: denoising error of the preferred image",
                        {.optional = true, .differentiable = true}};
  Argument rejected_error{this,
                          "rejected_error",
                          "N",
                          "pairs: of the other image",
                          {.optional = true, .differentiable = true}};
  Argument ref_chosen_error{
      this, "ref_chosen_error", "N", "pairs: of the frozen model", {.optional = true}};
  Argument ref_rejected_error{
      this, "ref_rejected_error", "N", "pairs: of the frozen model", {.optional = true}};
  Argument label{this,
                 "label",
                 "N",
                 "soft_dpo: probability that the first image is preferred",
                 {.optional = true}};
  Param<DenoiseKind> kind{this, "kind", DenoiseKind::kto, "which loss"};
  Param<double> beta{this,
                     "beta",
                     1000.0,
                     "factor of the gain; RPO's code uses 1",
                     {.min = 0, .exclusive_min = true}};
  Param<DenoiseOffset> kl_offset{this, "kl_offset", DenoiseOffset::class_means,
                                 "kto: what is subtracted from the gain"};
  Param<Utility> utility{this, "utility", Utility::sigmoid, "kto: value of a gain"};
  Param<double> weight_desirable{
      this, "weight_desirable", 1.0, "kto: weight of desirable rows", {.min = 0}};
  Param<double> weight_undesirable{
      this, "weight_undesirable", 1.0, "kto: weight of undesirable rows", {.min = 0}};
  Param<double> similar{
      this, "similar", 0.0, "pairs: factor of the preferred image's error (RPO 1)", {.min = 0}};
  Synonyms words{this, {"Diffusion-DPO", "Diffusion-KTO", "RPO", "DRAGON", "diffusion"}};
  Doc doc{this,
          "kto: g = ref_error - error - offset, x = +-beta g (+ if desirable); row loss = weight "
          "(1 - utility(x)) [N].\n"
          "dpo: d = beta ((ref_chosen - chosen) - (ref_rejected - rejected)); pair loss = -log "
          "sigmoid(d); soft_dpo: -label log sigmoid(d) - (1 - label) log sigmoid(-d); + similar * "
          "chosen_error.\n"
          "kl: the offset; accuracy: share of rows or pairs on the right side; margin: mean d. An "
          "offset looks at all rows: the step must be one micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return denoise_pair_loss(batch, {kind(), beta(), kl_offset(), utility(), weight_desirable(),
                                     weight_undesirable(), similar()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DenoisePair, "Preferences on denoising errors (Diffusion-DPO, -KTO)",
                "arXiv:2404.04465")
