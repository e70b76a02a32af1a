#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_pass.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

/// sign: +-1 by whether the row is desirable. X is a tensor or a dual number of some rows, C its
/// constants.
template <class X, class C>
REWARDLOOM_INLINE X row_losses(const X& rewards, const C& delta, const C& sign) {
  return logistic_loss(sign * (rewards - delta));
}

/// What is subtracted from rewards: [].
at::Tensor shift(const LossBatch& batch, const UnpairedRows& rows, const BcoOptions& options) {
  if (options.delta == RewardShift::given) {
    const at::Tensor& delta = batch.at("delta");
    if (delta.numel() == 1) return delta.detach().reshape({}).to(rows.log_probs.scalar_type());
    throw Failure("bad-shape", c10::str("delta is ", delta.sizes(), ", but must be one number"));
  }
  require_whole_step(batch.total_sequences, static_cast<double>(rows.log_probs.size(0)),
                     "subtracts the mean reward of all rows of a step");
  return options.beta * mean_difference(rows.log_probs.detach(), rows.reference);
}

/// Logged: rewards.
REWARDLOOM_VECTORISED
PassSums bco_rows(const PassPlaces& places, float delta, double beta) {
  return each_row<1>(
      places, [&](const PassLanes& rows) __attribute__((always_inline)) {
        using namespace vector_math;
        const Dual<1> rewards = beta * (trained<1>(rows.in[0], 0) - rows.in[1]);
        const Floats sign = rows.flag ? fill(1.0f) : fill(-1.0f);
        PassTerms<1> terms{row_losses(rewards, fill(delta), sign)};
        terms.logged[0] = rewards.value;
        return terms;
      });
}

}  // namespace

LossResult bco_loss(const LossBatch& batch, const BcoOptions& options) {
  const UnpairedRows rows = unpaired_rows(batch);
  const at::Tensor delta = shift(batch, rows, options);
  if (fits_row_pass({rows.log_probs, rows.reference}, rows.desirable)) {
    LossPass pass({rows.log_probs, rows.reference}, rows.desirable, {.trained = 1, .logged = 1});
    pass.set(bco_rows(pass.places(), delta.item<float>(), options.beta));
    return {row_mean_of(pass.sum(), pass.rows(), batch),
            {{"delta", delta}, {"rewards", pass.logged(0)}}};
  }
  const at::Tensor rewards = options.beta * (rows.log_probs - rows.reference);
  const at::Tensor losses = row_losses(rewards, delta, by_class(rows.desirable, 1, -1, rewards));
  return {row_mean(losses, batch), {{"delta", delta}, {"rewards", rewards.detach()}}};
}

struct Bco final : LossNode {
  Argument log_probs{
      this, "log_probs", "N", "policy, summed over completion tokens", {.differentiable = true}};
  Argument ref_log_probs{this, "ref_log_probs", "N", "the same under the reference"};
  Argument desirable{this, "desirable", "N", "true: the answer is wanted"};
  Argument shifted{this, "delta", "", "what is subtracted, where it is given", {.optional = true}};
  Param<double> beta{this,
                     "beta",
                     0.1,
                     "strength of the pull to the reference",
                     {.min = 0, .exclusive_min = true}};
  Param<RewardShift> delta{this, "delta", RewardShift::batch_mean,
                           "what is subtracted from rewards"};
  Synonyms words{this, {"BCO", "binary classifier", "thumbs up", "unpaired preferences"}};
  Doc doc{this,
          "r = beta (log_probs - ref_log_probs) [N]; row loss = -log sigmoid(r - delta) if "
          "desirable, -log sigmoid(delta - r) if not; loss = mean over the step's rows.\n"
          "delta: what was subtracted, a constant; rewards [N]: r.\n"
          "batch_mean looks at all rows: the step must be one micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return bco_loss(batch, {beta(), delta()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Bco, "Binary classifier optimisation (BCO)", "arXiv:2404.04656")
