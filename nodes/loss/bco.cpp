#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/unpaired.h"

namespace rewardloom {
namespace {

at::Tensor shift(const LossBatch& batch, const at::Tensor& rewards, RewardShift kind) {
  if (kind == RewardShift::given) {
    const at::Tensor& delta = batch.at("delta");
    if (delta.numel() == 1) return delta.detach().reshape({}).to(rewards.scalar_type());
    throw Failure("bad-shape", c10::str("delta is ", delta.sizes(), ", but must be one number"));
  }
  require_whole_step(batch.total_sequences, static_cast<double>(rewards.size(0)),
                     "subtracts the mean reward of all rows of a step");
  return mean_over(rewards.detach(), at::ones_like(rewards, at::kBool));
}

}  // namespace

LossResult bco_loss(const LossBatch& batch, const BcoOptions& options) {
  const UnpairedRows rows = unpaired_rows(batch);
  const at::Tensor rewards = options.beta * rows.log_ratio;
  const at::Tensor delta = shift(batch, rewards, options.delta);
  const at::Tensor centred = rewards - delta;
  const at::Tensor losses = logistic_loss(at::where(rows.desirable, centred, -centred));
  LossResult result;
  result.loss = row_mean(losses, batch);
  result.outputs = {{"delta", delta}, {"rewards", rewards.detach()}};
  return result;
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
