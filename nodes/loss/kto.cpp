#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

/// beta (x - z), z the reference point; sign +-1 and weight by whether the row is desirable. X is a
/// tensor or a dual number of some rows, C its constants.
template <class X, class C>
REWARDLOOM_INLINE X row_losses(const X& x, const C& z, const C& sign, const C& weight,
                               double beta) {
  return weight * sigmoid(-beta * (sign * (x - z)));
}

/// Mean log-ratio of completions that belong to other prompts, at least 0.
at::Tensor mismatched_kl(const LossBatch& batch) {
  const at::Tensor policy = row_argument(batch, "kl_log_probs").detach();
  const at::Tensor reference =
      argument_like(batch, "ref_kl_log_probs", policy, "kl_log_probs").detach();
  return mean_difference(policy, reference).clamp_min(0);
}

bool has_reference_point(const KtoOptions& options) {
  return options.variant == KtoVariant::kto && options.kl != KtoKl::none;
}

/// The reference point of all rows [], where it is a constant.
at::Tensor constant_point(const LossBatch& batch, const UnpairedRows& rows,
                          const KtoOptions& options) {
  if (!has_reference_point(options)) return at::zeros({}, rows.log_probs.detach().options());
  if (options.kl == KtoKl::mismatched) {
    return mismatched_kl(batch).to(rows.log_probs.scalar_type());
  }
  return mean_difference(rows.log_probs.detach(), rows.reference).clamp_min(0);
}

/// The reference point of each row [N], with gradient.
at::Tensor point_of_class(const at::Tensor& x, const at::Tensor& desirable) {
  const at::Tensor of_desirable = mean_over(x, desirable).clamp_min(0);
  const at::Tensor of_others = mean_over(x, desirable.logical_not()).clamp_min(0);
  return at::where(desirable, of_others, of_desirable);
}

LossResult on_tensors(const LossBatch& batch, const UnpairedRows& rows, const at::Tensor& constant,
                      const KtoOptions& options) {
  const at::Tensor x = rows.log_probs - rows.reference;
  const at::Tensor z = constant.defined() ? constant : point_of_class(x, rows.desirable);
  const at::Tensor losses =
      row_losses(x, z, by_class(rows.desirable, 1, -1, x),
                 by_class(rows.desirable, options.desirable_weight, options.undesirable_weight, x),
                 options.beta);
  LossResult result;
  result.loss = row_mean(losses, batch);
  const at::Tensor rewards = options.beta * x.detach();
  const at::Tensor desired = mean_over(rewards, rows.desirable);
  const at::Tensor undesired = mean_over(rewards, rows.desirable.logical_not());
  result.outputs = {
      {"kl", plain_mean(z.detach())}, {"rewards", rewards}, {"margin", desired - undesired}};
  return result;
}

/// Logged: rewards. Sums: rewards of desirable rows, of the others, how many are desirable.
REWARDLOOM_VECTORISED
PassSums kto_rows(const PassPlaces& places, float z, const KtoOptions& options) {
  const float beta = static_cast<float>(options.beta);
  const float liked = static_cast<float>(options.desirable_weight);
  const float disliked = static_cast<float>(options.undesirable_weight);
  return each_row<1>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        const Dual<1> x = trained<1>(rows.in[0], 0) - rows.in[1];
        const Floats sign = rows.flag ? fill(1.0f) : fill(-1.0f);
        const Floats weight = rows.flag ? fill(liked) : fill(disliked);
        PassTerms<1> terms{row_losses(x, fill(z), sign, weight, options.beta)};
        const Floats reward = beta * x.value;
        terms.logged[0] = reward;
        terms.sums[0] = rows.flag ? reward : Floats{};
        terms.sums[1] = rows.flag ? Floats{} : reward;
        terms.sums[2] = vector_math::one_where(rows.flag);
        return terms;
      });
}

LossResult in_one_pass(const LossBatch& batch, const UnpairedRows& rows, const at::Tensor& z,
                       const KtoOptions& options) {
  LossPass pass({rows.log_probs, rows.reference}, rows.desirable, {.trained = 1, .logged = 1});
  pass.set(kto_rows(pass.places(), z.item<float>(), options));
  const double liked = pass.sum_of(2), disliked = pass.rows() - liked;
  const double margin =
      pass.sum_of(0) / std::max(1.0, liked) - pass.sum_of(1) / std::max(1.0, disliked);
  return {row_mean_of(pass.sum(), pass.rows(), batch),
          {{"kl", z}, {"rewards", pass.logged(0)}, {"margin", logged_number(margin)}}};
}

}  // namespace

LossResult kto_loss(const LossBatch& batch, const KtoOptions& options) {
  const UnpairedRows rows = unpaired_rows(batch);
  if (has_reference_point(options) && options.kl != KtoKl::mismatched) {
    require_whole_step(batch.total_sequences, static_cast<double>(rows.log_probs.size(0)),
                       "takes the mean log-ratio of all rows of a step");
  }
  if (has_reference_point(options) && options.kl == KtoKl::class_means) {
    return on_tensors(batch, rows, {}, options);
  }
  const at::Tensor z = constant_point(batch, rows, options);
  if (fits_row_pass({rows.log_probs, rows.reference}, rows.desirable))
    return in_one_pass(batch, rows, z, options);
  return on_tensors(batch, rows, z, options);
}

struct Kto final : LossNode {
  Argument log_probs{
      this, "log_probs", "N", "policy, summed over completion tokens", {.differentiable = true}};
  Argument ref_log_probs{this, "ref_log_probs", "N", "the same under the reference"};
  Argument desirable{this, "desirable", "N", "true: the answer is wanted"};
  Argument kl_log_probs{this,
                        "kl_log_probs",
                        "M",
                        "policy on completions of other prompts, those of the whole step",
                        {.optional = true}};
  Argument ref_kl_log_probs{
      this, "ref_kl_log_probs", "M", "the same under the reference", {.optional = true}};
  Param<KtoVariant> variant{this, "variant", KtoVariant::kto, "which loss"};
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "strength of the pull to the reference",
                     {.min = 0, .exclusive_min = true}};
  Param<double> desirable_weight{
      this, "desirable_weight", 1.0, "weight of desirable rows", {.min = 0}};
  Param<double> undesirable_weight{
      this, "undesirable_weight", 1.0, "weight of undesirable rows", {.min = 0}};
  Param<KtoKl> kl{this, "kl", KtoKl::mismatched, "the reference point z"};
  Synonyms words{this, {"KTO", "Kahneman-Tversky", "thumbs up", "unpaired preferences"}};
  Doc doc{this,
          "x = log_probs - ref_log_probs [N]; row loss = weight * (1 - sigmoid(beta (x - z))) if "
          "desirable, weight * (1 - sigmoid(beta (z - x))) if not; loss = mean over the step's "
          "rows.\n"
          "kl: the reference point z (its mean where it differs by class); rewards [N]: beta x; "
          "margin: mean reward of desirable minus undesirable rows.\n"
          "class_means and batch_mean look at all rows: the step must be one micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return kto_loss(batch, {variant(), beta(), desirable_weight(), undesirable_weight(), kl()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Kto, "Kahneman-Tversky optimisation (KTO)", "arXiv:2402.01306")
