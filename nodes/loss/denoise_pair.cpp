#include "nodes/loss/denoise_pair.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

/// Single images; the gain of a row is ref_error - error.
struct Images {
  at::Tensor error, ref_error;
  at::Tensor desirable;  ///< [N] bool
};

/// Sums: gains of desirable rows, of the others, how many are desirable.
REWARDLOOM_VECTORISED
PassSums gain_rows(const PassPlaces& places) {
  return each_row<1>(
      places, [](const PassLanes& rows) __attribute__((always_inline)) {
        const vector_math::Floats gain = rows.in[1] - rows.in[0], zero{};
        PassTerms<1> terms{};
        terms.sums[0] = rows.flag ? gain : zero;
        terms.sums[1] = rows.flag ? zero : gain;
        terms.sums[2] = vector_math::one_where(rows.flag);
        return terms;
      });
}

/// Means of the gains, each [].
struct MeanGains {
  at::Tensor all, desirable, others;
};

MeanGains mean_gains(const Images& images) {
  const at::Tensor error = images.error.detach();
  if (!fits_row_pass({error, images.ref_error}, images.desirable)) {
    const at::Tensor gain = images.ref_error - error;
    return {mean_difference(images.ref_error, error), mean_over(gain, images.desirable),
            mean_over(gain, images.desirable.logical_not())};
  }
  LossPass pass({error, images.ref_error}, images.desirable, {.trained = 0});
  pass.set(gain_rows(pass.places()));
  const double liked = pass.sum_of(2), disliked = pass.rows() - liked;
  const auto mean = [](double sum, double count) {
    return logged_number(sum / std::max(1.0, count));
  };
  return {mean(pass.sum_of(0) + pass.sum_of(1), pass.rows()), mean(pass.sum_of(0), liked),
          mean(pass.sum_of(1), disliked)};
}

at::Tensor offset_of(const LossBatch& batch, const Images& images, DenoiseOffset kind) {
  if (kind == DenoiseOffset::none) return at::zeros({}, images.ref_error.options());
  require_whole_step(batch.total_sequences, static_cast<double>(images.error.size(0)),
                     "subtracts a mean over all rows of a step");
  const MeanGains gains = mean_gains(images);
  if (kind == DenoiseOffset::batch_mean) return gains.all.clamp_min(0);
  return 0.5 * (gains.desirable + gains.others);
}

/// gain: beta * g; sign: +-1. X is a tensor or a dual number of some rows, C its constants.
template <class X, class C>
REWARDLOOM_INLINE X utility_of(const X& gain, const C& sign, Utility utility) {
  switch (utility) {
    case Utility::loss_averse: return log_sigmoid(sign * gain);
    case Utility::risk_seeking_1: return -(sign * log_sigmoid(-gain));
    case Utility::risk_seeking_2: return sign * bounded_exp(gain / 100) - 1;
    case Utility::risk_seeking_3: return -log_sigmoid(-(sign * gain));
    case Utility::sigmoid: break;
  }
  return sigmoid(sign * gain);
}

/// Sums: rows on the right side.
REWARDLOOM_VECTORISED
PassSums image_rows(const PassPlaces& places, float offset, const DenoisePairOptions& options) {
  const float liked = static_cast<float>(options.weight_desirable);
  const float disliked = static_cast<float>(options.weight_undesirable);
  return each_row<1>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        const Floats sign = rows.flag ? fill(1.0f) : fill(-1.0f);
        const Floats weight = rows.flag ? fill(liked) : fill(disliked);
        const Dual<1> gain = options.beta * (rows.in[1] - trained<1>(rows.in[0], 0) - fill(offset));
        PassTerms<1> terms{weight * (1 - utility_of(gain, sign, options.utility))};
        terms.sums[0] = vector_math::one_where(sign * gain.value > Floats{});
        return terms;
      });
}

LossResult unpaired(const LossBatch& batch, const DenoisePairOptions& options) {
  const at::Tensor error = row_argument(batch, "error");
  const Images images{error, argument_like(batch, "ref_error", error, "error").detach(),
                      argument_like(batch, "desirable", error, "error").to(at::kBool)};
  const at::Tensor offset = offset_of(batch, images, options.kl_offset);
  if (fits_row_pass({error, images.ref_error}, images.desirable)) {
    LossPass pass({error, images.ref_error}, images.desirable, {.trained = 1});
    pass.set(image_rows(pass.places(), offset.item<float>(), options));
    return {row_mean_of(pass.sum(), pass.rows(), batch),
            {{"kl", offset}, {"accuracy", logged_number(pass.mean_of(0))}}};
  }
  const at::Tensor sign = by_class(images.desirable, 1, -1, offset);
  const at::Tensor weight =
      by_class(images.desirable, options.weight_desirable, options.weight_undesirable, offset);
  const at::Tensor gain = options.beta * (images.ref_error - error - offset);
  const at::Tensor right = (sign * gain.detach() > 0).to(offset.scalar_type());
  return {row_mean(weight * (1 - utility_of(gain, sign, options.utility)), batch),
          {{"kl", offset}, {"accuracy", plain_mean(right)}}};
}

/// d: how much more the preferred image has gained; label: a probability, for soft_dpo. X and C as
/// above.
template <class X, class C>
REWARDLOOM_INLINE X pair_losses(const X& d, const X& chosen_error, const C& label,
                                const DenoisePairOptions& options) {
  X losses = logistic_loss(d);
  if (options.kind == DenoiseKind::soft_dpo) {
    losses = label * losses + (1 - label) * logistic_loss(-d);
  }
  if (options.similar != 0) losses = losses + options.similar * chosen_error;
  return losses;
}

/// Sums: pairs in the right order, d.
REWARDLOOM_VECTORISED
PassSums pair_rows(const PassPlaces& places, const DenoisePairOptions& options) {
  return each_row<2>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        const Dual<2> chosen = trained<2>(rows.in[0], 0), rejected = trained<2>(rows.in[1], 1);
        const Dual<2> d = options.beta * ((rows.in[2] - chosen) - (rows.in[3] - rejected));
        PassTerms<2> terms{pair_losses(d, chosen, rows.in[4], options)};
        terms.sums[0] = vector_math::one_where(d.value > vector_math::Floats{});
        terms.sums[1] = d.value;
        return terms;
      });
}

LossResult paired(const LossBatch& batch, const DenoisePairOptions& options) {
  const at::Tensor chosen = row_argument(batch, "chosen_error");
  const auto like_chosen = [&](const char* name) {
    return argument_like(batch, name, chosen, "chosen_error");
  };
  const at::Tensor ref_chosen = like_chosen("ref_chosen_error").detach();
  const at::Tensor ref_rejected = like_chosen("ref_rejected_error").detach();
  const at::Tensor rejected = like_chosen("rejected_error");
  at::Tensor label;
  if (options.kind == DenoiseKind::soft_dpo) {
    label = like_chosen("label").detach().to(chosen.scalar_type());
  }
  if (fits_row_pass({chosen, rejected, ref_chosen, ref_rejected, label})) {
    LossPass pass({chosen, rejected, ref_chosen, ref_rejected, label}, {}, {.trained = 2});
    pass.set(pair_rows(pass.places(), options));
    return {
        pair_mean_of(pass.sum(), pass.rows(), batch),
        {{"accuracy", logged_number(pass.mean_of(0))}, {"margin", logged_number(pass.mean_of(1))}}};
  }
  const at::Tensor d = options.beta * ((ref_chosen - chosen) - (ref_rejected - rejected));
  return {pair_mean(pair_losses(d, chosen, label, options), batch),
          {{"accuracy", plain_mean((d.detach() > 0).to(d.scalar_type()))},
           {"margin", plain_mean(d.detach())}}};
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
