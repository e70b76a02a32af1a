#include "nodes/loss/kl.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/loss/aggregate.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// exp(-x) - 1 + x; beyond -80, where exp(-x) leaves float32, it stays what it is there.
at::Tensor low_variance(const at::Tensor& x) {
  const at::Tensor bounded = x.clamp_min(-80);
  return (-bounded).expm1() + bounded;
}

at::Tensor estimate(const at::Tensor& x, KlEstimator estimator) {
  switch (estimator) {
    case KlEstimator::abs: return x.abs();
    case KlEstimator::k2: return 0.5 * x.square();
    case KlEstimator::k3:
    case KlEstimator::k3_straight: return low_variance(x);
    case KlEstimator::k1:
    case KlEstimator::k1_straight: break;
  }
  return x;
}

}  // namespace

at::Tensor kl_estimate(const at::Tensor& log_probs, const at::Tensor& ref_log_probs,
                       const at::Tensor& weights, const KlOptions& options) {
  const at::Tensor difference = log_probs - ref_log_probs;
  at::Tensor value = estimate(held_within(difference, options.input_clamp), options.estimator);
  if (weights.defined()) value = value * weights;
  value = held_within(value, options.output_clamp);
  if (options.estimator != KlEstimator::k1_straight &&
      options.estimator != KlEstimator::k3_straight) {
    return value;
  }
  at::Tensor path = 0.5 * difference.square();
  if (weights.defined()) path = path * weights;
  return value.detach() + path - path.detach();
}

namespace {

enum class KlPreset { none, verl, openrlhf, nemo, trl };
constexpr auto choices(KlPreset) {
  return std::to_array<Choice<KlPreset>>({
      {KlPreset::none, "none", "the parameters as given"},
      {KlPreset::verl, "verl", "k3: input 20, output 10; k1, abs, k2: no clamps"},
      {KlPreset::openrlhf, "openrlhf", "no input clamp, output 10 for every estimator"},
      {KlPreset::nemo, "nemo", "input 20, output 10 for every estimator"},
      {KlPreset::trl, "trl", "k3 without clamps"},
  });
}

}  // namespace

struct KlLoss final : LossNode {
  Argument log_probs{this, "log_probs", "N,T", "current policy", {.differentiable = true}};
  Argument ref_log_probs = Argument::with_port<LogProbs>(this, "ref_log_probs", "N,T",
                                                         "the same tokens under the reference");
  Argument mask{this, "mask", "N,T", "action tokens"};
  Argument weights = Argument::with_port<Values>(
      this, "weights", "N,T", "importance weights, multiplied in before the output clamp",
      {.optional = true});
  Param<KlEstimator> estimator{this, "estimator", KlEstimator::k3, "how the KL is estimated"};
  Param<std::optional<double>> input_clamp{this,
                                           "input_clamp",
                                           20.0,
                                           "holds the log-ratio within +- this",
                                           {.min = 0, .exclusive_min = true}};
  Param<std::optional<double>> output_clamp{this,
                                            "output_clamp",
                                            10.0,
                                            "holds the estimate within +- this",
                                            {.min = 0, .exclusive_min = true}};
  Param<double> coefficient{this, "coefficient", 1.0, "factor of the loss"};
  AggregateParams aggregate{this};
  Param<KlPreset> preset{this, "preset", KlPreset::none,
                         "sets the clamps as a framework does; explicit ones win"};
  Preset verl{this, "verl", {{"input_clamp", 20.0}, {"output_clamp", 10.0}}};
  Preset openrlhf{this, "openrlhf", {{"input_clamp", nullptr}, {"output_clamp", 10.0}}};
  Preset nemo{this, "nemo", {{"input_clamp", 20.0}, {"output_clamp", 10.0}}};
  Preset trl{
      this, "trl", {{"estimator", "k3"}, {"input_clamp", nullptr}, {"output_clamp", nullptr}}};
  Synonyms words{this, {"KL penalty", "regularisation", "reference model", "k1", "k2", "k3"}};
  Doc doc{this,
          "x = log_probs - ref_log_probs per action token [N,T]; loss = coefficient * "
          "aggregate(kl(x)).\n"
          "Where a clamp is active the gradient is 0. kl: the estimate per token, 0 outside the "
          "mask; kl_mean: its mean; kl_clamped: the share of tokens that a clamp holds."};

  LossResult evaluate(const LossBatch& batch) const override {
    const at::Tensor tokens = mask_argument(batch);
    const at::Tensor& raw = token_argument(batch, "log_probs", tokens);
    const at::Tensor raw_reference = token_argument(batch, "ref_log_probs", tokens).detach();
    const KlOptions options = kl_options();
    const bool straight = options.estimator == KlEstimator::k1_straight ||
                          options.estimator == KlEstimator::k3_straight;
    if (!straight && !batch.has("weights") && fits_token_pass(tokens, {raw, raw_reference})) {
      const TokenPass pass = kl_pass(tokens, raw, raw_reference, options);
      LossResult result;
      result.loss =
          coefficient() * aggregate_masked(differentiable(raw, pass), tokens, aggregate(), batch);
      result.outputs = {{"kl", pass.value},
                        {"kl_mean", at::full({}, pass.means[0])},
                        {"kl_clamped", at::full({}, pass.means[1])}};
      return result;
    }
    const at::Tensor current = on_mask(tokens, raw), reference = on_mask(tokens, raw_reference);
    at::Tensor factors;
    if (batch.has("weights")) factors = masked_argument(batch, "weights", tokens).detach();
    const at::Tensor kl = kl_estimate(current, reference, factors, options);
    LossResult result;
    result.loss = coefficient() * rewardloom::aggregate(kl, tokens, aggregate(), batch);
    result.outputs = {
        {"kl", kl.detach()},
        {"kl_mean", masked_mean(kl, tokens)},
        {"kl_clamped",
         masked_mean(clamped(current.detach() - reference, kl.detach(), options), tokens)}};
    return result;
  }

 private:
  static at::Tensor clamped(const at::Tensor& difference, const at::Tensor& kl,
                            const KlOptions& options) {
    at::Tensor held = at::zeros({}, difference.options().dtype(at::kBool)).expand_as(difference);
    if (options.input_clamp) held = difference.abs() > *options.input_clamp;
    if (options.output_clamp) held = held.logical_or(kl.abs() >= *options.output_clamp);
    return held;
  }

  /// verl clamps its k3 alone.
  KlOptions kl_options() const {
    KlOptions options{estimator(), input_clamp(), output_clamp()};
    const bool low_variance =
        estimator() == KlEstimator::k3 || estimator() == KlEstimator::k3_straight;
    if (preset() == KlPreset::verl && !low_variance) {
      if (!input_clamp.is_given()) options.input_clamp.reset();
      if (!output_clamp.is_given()) options.output_clamp.reset();
    }
    return options;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(KlLoss, "KL to a reference", "joschu.net/blog/kl-approx.html")
