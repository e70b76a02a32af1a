// Policy gradients through the stochastic steps of a flow (Flow-GRPO, arXiv:2505.05470).
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "nodes/image/flow_sampler.h"
#include "nodes/optimize/network_descent.h"

namespace rewardloom {

enum class MeanPenalty { squared, gaussian };
constexpr auto choices(MeanPenalty) {
  return std::to_array<Choice<MeanPenalty>>({
      {MeanPenalty::squared, "squared", "mean of the squared difference (Adv-GRPO)"},
      {MeanPenalty::gaussian, "gaussian",
       "the same over twice the squared noise: the divergence per element (Flow-GRPO)"},
  });
}

struct FlowPolicyRows {
  at::Tensor before, after;  ///< [N,S,C,H,W]
  at::Tensor labels;         ///< [N] int64
  at::Tensor old_log_probs;  ///< [N,S]
  at::Tensor advantages;     ///< [N]
  at::Tensor sigmas;         ///< [T+1] double; step s goes from sigmas[s] to sigmas[s+1]
};

/// The losses see the S steps as tokens: log_probs, old_log_probs, mask [N,S], advantages [N]. The
/// penalty on the mean of each step against `reference` is added, times `kl`, as a mean over rows
/// and steps. All velocities are guided ones (see guided_velocity). "mean:log_ratio" is recorded,
/// and the largest of its size at the first step.
class FlowPolicyObjective final : public NetworkObjective {
 public:
  FlowPolicyObjective(const FlowNetShape& shape, FlowPolicyRows rows, std::vector<UpdateTerm> terms,
                      const FlowStepOptions& options, const FlowNet* reference, double kl,
                      MeanPenalty penalty, double guidance = 1);
  std::int64_t rows() const override { return rows_.labels.size(0); }
  at::Tensor loss(const TensorMap& weights, const NetworkBatch& batch,
                  Gathered& into) const override;

 private:
  at::Tensor penalty_of(const FlowStep& now, const FlowStep& then) const;

  FlowNetShape shape_;
  FlowPolicyRows rows_;
  std::vector<UpdateTerm> terms_;
  FlowStepOptions options_;
  const FlowNet* reference_;
  double kl_;
  MeanPenalty penalty_;
  double guidance_;
};

}  // namespace rewardloom
