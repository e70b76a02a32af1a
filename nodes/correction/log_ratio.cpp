#include "nodes/correction/log_ratio.h"

#include <torch/types.h>

#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

const at::Tensor& sampled(const LogProbs* behavior, const Completions* completions) {
  if (behavior != nullptr) return behavior->log_probs;
  if (completions != nullptr && completions->log_probs.defined()) return completions->log_probs;
  throw Failure("no-behavior-log-probs", "nothing says with which log-probs the rows were sampled",
                "connect completions of a sampler that keeps them, or behavior_log_probs");
}

}  // namespace

SampledLogProbs sampled_log_probs(const LogProbs& current, const LogProbs* behavior,
                                  const Completions* completions) {
  const at::Tensor& other = sampled(behavior, completions);
  at::Tensor mask;
  if (completions != nullptr) {
    require_same_rows("log_probs", current.log_probs.size(0), current.batch, "completions",
                      completions->rows(), completions->batch);
    mask = completions->mask();
  } else {
    mask = current.mask.defined() || behavior == nullptr ? current.mask : behavior->mask;
  }
  if (!mask.defined()) {
    throw Failure("no-mask", "nothing says which tokens are the policy's own",
                  "connect completions, or log_probs with a mask");
  }
  if (other.sizes() != current.log_probs.sizes() || mask.sizes() != other.sizes()) {
    throw Failure("bad-shape",
                  c10::str("log_probs are ", current.log_probs.sizes(), ", behavior_log_probs ",
                           other.sizes(), ", the mask ", mask.sizes()),
                  "rows and tokens must agree");
  }
  return {current.log_probs, other.to(current.log_probs.options()), mask.to(at::kBool)};
}

LogRatio::LogRatio(const LogProbs& current, const LogProbs* behavior,
                   const Completions* completions) {
  const SampledLogProbs given = sampled_log_probs(current, behavior, completions);
  const at::Tensor zero = at::zeros({}, current.log_probs.options());
  mask = given.mask;
  log_probs = at::where(mask, given.log_probs, zero);
  behavior_log_probs = at::where(mask, given.behavior_log_probs, zero);
}

at::Tensor LogRatio::lengths() const { return mask.sum(-1); }

}  // namespace rewardloom
