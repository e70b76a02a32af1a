#include "nodes/correction/off_policy_sequence.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

namespace {

/// Mean of behavior - current over the mask of each row, [N] double.
template <class T>
at::Tensor mean_of_rows(const SampledLogProbs& in, const ParallelCalls& parallel) {
  at::Tensor out = at::empty({in.mask.size(0)}, at::dtype(at::kDouble));
  double* const mean = out.data_ptr<double>();
  const std::int64_t tokens = in.mask.size(1);
  for_rows(in.mask.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T* const p = row_of<const T>(in.log_probs, row);
      const T* const q = row_of<const T>(in.behavior_log_probs, row);
      const bool* const mask = row_of<const bool>(in.mask, row);
      const double sum = masked_sum(mask, tokens, [p, q](std::int64_t t) {
        return static_cast<double>(q[t]) - static_cast<double>(p[t]);
      });
      mean[row] = sum / static_cast<double>(std::max<std::int64_t>(1, count_tokens(mask, tokens)));
    }
  });
  return out;
}

at::Tensor mean_by_operators(const SampledLogProbs& in) {
  const at::Tensor difference =
      in.behavior_log_probs.to(at::kDouble) - in.log_probs.to(at::kDouble);
  return difference.masked_fill(in.mask.logical_not(), 0).sum(-1) / in.mask.sum(-1).clamp_min(1);
}

}  // namespace

at::Tensor kept_sequences(const at::Tensor& advantages, const SampledLogProbs& inputs,
                          double threshold, const ParallelCalls& parallel) {
  require_matrix("log_probs", inputs.log_probs);
  require_sizes("behavior_log_probs", inputs.behavior_log_probs, "log_probs",
                inputs.log_probs.sizes());
  const at::Tensor mask = checked_mask(inputs.mask, "log_probs", inputs.log_probs.sizes());
  const bool column = advantages.dim() == 2 && advantages.size(1) == 1;
  const at::Tensor advantage = column ? advantages.squeeze(1) : advantages;
  require_vector("advantages", advantage, mask.size(0));
  const at::ScalarType type = working_type({inputs.log_probs, inputs.behavior_log_probs});
  const SampledLogProbs in{prepared(inputs.log_probs, type),
                           prepared(inputs.behavior_log_probs, type), mask};
  const at::Tensor mean = !in.log_probs.is_cpu() ? mean_by_operators(in)
                          : type == at::kDouble  ? mean_of_rows<double>(in, parallel)
                                                 : mean_of_rows<float>(in, parallel);
  return advantage.ge(0).logical_or(mean.le(threshold));
}

struct OffPolicySequence final : Node {
  Input<Advantages> advantages{this, "advantages", "one per completion", {.dims = "N"}};
  Input<LogProbs> log_probs{this, "log_probs", "of the trainer's policy"};
  Optional<LogProbs> behavior{this, "behavior_log_probs", "what the sampler reported"};
  Optional<Completions> completions{this, "completions", "instead: they carry the sampler's"};
  Output<Values> keep{this, "keep", "not 0: the completion is kept", {.dims = "N"}};
  Output<Values> weights{
      this, "weights", "1 for tokens of kept completions, for a loss", {.dims = "N,T"}};
  Param<double> threshold{this, "threshold", 0.1, "largest mean of behavior - current log-prob"};
  Synonyms words{this, {"off-policy sequence masking", "DeepSeek-V3.2", "staleness"}};
  Doc doc{this,
          "keep = advantage >= 0, or mean over the action tokens of (behavior - current log-prob) "
          "<= threshold; [N]. Bad answers that the policy has left behind are not pushed further "
          "down.\n"
          "Metric: dropped_rows (share)."};

  void run(Step& step) const override {
    const Advantages& a = step[advantages];
    const LogProbs& current = step[log_probs];
    require_same_rows("advantages", a.advantages.size(0), a.batch, "log_probs",
                      current.log_probs.size(0), current.batch);
    const SampledLogProbs in = sampled_log_probs(current, step[behavior], step[completions]);
    const ParallelCalls parallel = calls_of(step);
    const at::Tensor kept = kept_sequences(a.advantages, in, threshold(), parallel);
    const double dropped = kept.logical_not().sum().item<double>();
    step.metric("dropped_rows", dropped / std::max(1.0, static_cast<double>(kept.numel())));
    step[keep] = Values{kept, current.batch};
    step[weights] =
        Values{on_tokens(kept.to(in.log_probs.scalar_type()), in.mask, parallel), current.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(OffPolicySequence, "Off-policy sequence mask", "arXiv:2512.02556")
