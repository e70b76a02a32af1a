#include "nodes/loss/return_decomposition.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// What the mean step reward of an episode is estimated to be, and how much drawing steps adds to
/// the squared error.
struct Estimate {
  at::Tensor mean;   ///< [N]
  at::Tensor noise;  ///< [N], undefined where nothing is taken off
};

at::Tensor checked_steps(const LossBatch& batch, const at::Tensor& rewards,
                         const at::Tensor& lengths) {
  const at::Tensor& steps = batch.at("steps");
  if (steps.dim() != 2 || steps.size(0) != rewards.size(0) || steps.size(1) == 0) {
    throw Failure("bad-shape",
                  c10::str("steps is ", steps.sizes(), ", but step_rewards is ", rewards.sizes()),
                  "steps are [N,K] with at least one step per episode");
  }
  const at::Tensor wrong = (steps < 0).logical_or(steps >= lengths.unsqueeze(-1));
  if (wrong.logical_and(lengths.unsqueeze(-1) > 0).any().item().toBool()) {
    throw Failure("bad-index", "a sampled step lies outside its episode",
                  "steps are counted from 0 and must be below the episode's length");
  }
  return steps.to(at::kLong);
}

Estimate sampled(const LossBatch& batch, const at::Tensor& rewards, const at::Tensor& lengths,
                 bool unbiased) {
  const at::Tensor steps = checked_steps(batch, rewards, lengths);
  const at::Tensor there = lengths.unsqueeze(-1) > 0;
  const at::Tensor drawn = rewards.gather(1, at::where(there, steps, at::zeros_like(steps)));
  Estimate estimate{drawn.mean(-1), {}};
  if (!unbiased) return estimate;
  const auto k = static_cast<double>(steps.size(1));
  if (k < 2) {
    throw Failure("too-few-steps", "the variance of one sampled step is not defined",
                  "sample at least two steps, or take form sampled");
  }
  const at::Tensor left = 1 - k / lengths.clamp_min(1).to(drawn.scalar_type());
  estimate.noise = drawn.var(1, true) * left.clamp_min(0) / k;
  return estimate;
}

/// Which steps belong to their episode: [N,T].
at::Tensor valid_steps(const LossBatch& batch, const at::Tensor& lengths) {
  const at::Tensor& rewards = batch.at("step_rewards");
  if (rewards.dim() != 2 || rewards.size(0) != lengths.size(0)) {
    throw Failure(
        "bad-shape",
        c10::str("step_rewards is ", rewards.sizes(), ", but lengths is ", lengths.sizes()),
        "step_rewards are [N,T] for the same episodes");
  }
  if (lengths.numel() > 0 && lengths.max().item().toLong() > rewards.size(1)) {
    throw Failure("bad-shape",
                  c10::str("an episode has ", lengths.max().item().toLong(),
                           " steps, but step_rewards is ", rewards.sizes()),
                  "step_rewards must cover every step of every episode");
  }
  return at::arange(rewards.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(-1);
}

}  // namespace

LossResult return_decomposition_loss(const LossBatch& batch, DecompositionForm form) {
  const at::Tensor lengths = row_argument(batch, "lengths").to(at::kLong);
  const at::Tensor valid = valid_steps(batch, lengths), &rewards = batch.at("step_rewards");
  const at::Tensor returns = argument_like(batch, "returns", lengths, "lengths").detach();
  const at::Tensor steps = lengths.clamp_min(1).to(rewards.scalar_type());
  const Estimate estimate = form == DecompositionForm::full
                                ? Estimate{row_sums(valid, rewards) / steps, {}}
                                : sampled(batch, masked_argument(batch, "step_rewards", valid),
                                          lengths, form == DecompositionForm::sampled_unbiased);
  const at::Tensor error = estimate.mean - returns.to(rewards.scalar_type()) / steps;
  at::Tensor losses = error.square();
  if (estimate.noise.defined()) losses = losses - estimate.noise;
  const at::Tensor zero = at::zeros({}, rewards.options().requires_grad(false));
  LossResult result;
  result.loss = row_mean(at::where(lengths > 0, losses, zero), batch);
  result.outputs = {{"error", plain_mean(at::where(lengths > 0, error.detach().abs(), zero))}};
  return result;
}

struct ReturnDecomposition final : LossNode {
  Argument step_rewards{
      this, "step_rewards", "N,T", "output of the reward model", {.differentiable = true}};
  Argument returns = Argument::with_port<Returns>(this, "returns", "N", "return of the episode");
  Argument lengths{this, "lengths", "N", "steps of the episode"};
  Argument steps{this, "steps", "N,K", "sampled steps, for sampled forms", {.optional = true}};
  Param<DecompositionForm> form{this, "form", DecompositionForm::full, "which steps are averaged"};
  Synonyms words{this, {"RD", "RRD", "LaRe", "credit assignment", "delayed reward"}};
  Doc doc{this,
          "row loss = (mean step reward - return / length)^2 [N]; loss = mean over the step's "
          "rows. sampled: the mean is over K given steps; sampled_unbiased: minus var(sampled) (1 "
          "- K / length) / K, the share of the squared error that drawing K of the steps adds.\n"
          "error: mean absolute difference of the two means."};

  LossResult evaluate(const LossBatch& batch) const override {
    return return_decomposition_loss(batch, form());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ReturnDecomposition, "Return decomposition", "arXiv:2412.11120")
