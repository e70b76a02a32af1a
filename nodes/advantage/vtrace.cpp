#include "nodes/advantage/vtrace.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

Episodes checked_vtrace(const Episodes& episodes, const VtraceInputs& inputs) {
  const Episodes e = checked(episodes);
  const at::IntArrayRef sizes = e.rewards.sizes();
  require_sizes("log_probs", inputs.log_probs, "rewards", sizes);
  require_sizes("behavior_log_probs", inputs.behavior_log_probs, "rewards", sizes);
  require_sizes("values", inputs.values, "rewards", sizes);
  require_sizes("next_values", inputs.next_values, "rewards", sizes);
  return e;
}

/// A step's ratio is that of the probabilities; outside the mask it may be anything.
at::Tensor ratios(const VtraceInputs& inputs, at::ScalarType type) {
  return (inputs.log_probs.detach().to(type) - inputs.behavior_log_probs.detach().to(type)).exp();
}

template <class T>
struct VtraceRow {
  const T* rewards;
  const T* ratios;
  const T* values;
  const T* next_values;
  const bool* mask;        ///< or null
  const bool* done;        ///< or null
  const bool* terminated;  ///< or null
  T* advantages;
  T* targets;
};

template <class T>
void vtrace_row(const VtraceRow<T>& row, std::int64_t tokens, const VtraceOptions& options) {
  double excess = 0;  // v_{t+1} - V_{t+1}
  double next_target = 0;
  bool follows = false;  // whether a later step of the row counts
  for (std::int64_t t = tokens; t-- > 0;) {
    if (row.mask != nullptr && !row.mask[t]) {
      row.advantages[t] = row.targets[t] = T{0};
      continue;
    }
    double next = static_cast<double>(row.next_values[t]);
    bool goes_on = follows;
    if (row.done != nullptr && row.done[t]) {
      goes_on = false;
      if (row.terminated[t]) next = 0;
    }
    const double value = static_cast<double>(row.values[t]);
    const double reward = static_cast<double>(row.rewards[t]);
    const double rho = std::min(static_cast<double>(row.ratios[t]), options.rho_clip);
    const double trace = std::min(static_cast<double>(row.ratios[t]), options.c_clip);
    const double behind = goes_on ? next_target : next;
    excess = rho * (reward + options.gamma * next - value) +
             (goes_on ? options.gamma * trace * excess : 0.0);
    next_target = value + excess;
    row.advantages[t] = static_cast<T>(rho * (reward + options.gamma * behind - value));
    row.targets[t] = static_cast<T>(next_target);
    follows = true;
  }
}

template <class T>
VtraceResult vtrace_of_rows(const Episodes& e, const at::Tensor& ratio, const at::Tensor& values,
                            const at::Tensor& next_values, const VtraceOptions& options,
                            const ParallelCalls& parallel) {
  VtraceResult out{at::empty_like(e.rewards), at::empty_like(e.rewards)};
  const std::int64_t tokens = e.rewards.size(1);
  for_rows(e.rewards.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t i = first; i < last; ++i) {
      vtrace_row<T>(
          {row_of<const T>(e.rewards, i), row_of<const T>(ratio, i), row_of<const T>(values, i),
           row_of<const T>(next_values, i), row_of<const bool>(e.mask, i),
           row_of<const bool>(e.done, i), row_of<const bool>(e.terminated, i),
           row_of<T>(out.advantages, i), row_of<T>(out.targets, i)},
          tokens, options);
    }
  });
  return out;
}

}  // namespace

VtraceResult vtrace_by_scan(const Episodes& episodes, const VtraceInputs& inputs,
                            const VtraceOptions& options) {
  const Episodes e = checked_vtrace(episodes, inputs);
  const at::Tensor zero = at::zeros({}, e.rewards.options().dtype(at::kDouble));
  const at::Tensor mask = e.mask.defined() ? e.mask : at::ones_like(e.rewards, at::kBool);
  const auto inside = [&](const at::Tensor& x) { return at::where(mask, x.to(at::kDouble), zero); };
  at::Tensor end = last_in_mask(mask);
  at::Tensor next = inside(inputs.next_values);
  if (e.done.defined()) {
    end = end.logical_or(e.done.logical_and(mask));
    next = at::where(e.terminated, zero, next);
  }
  const at::Tensor weight = inside(ratios(inputs, at::kDouble));
  const at::Tensor rho = weight.clamp_max(options.rho_clip);
  const at::Tensor trace = options.gamma * weight.clamp_max(options.c_clip);
  const at::Tensor v = inside(inputs.values);
  const at::Tensor reward = inside(e.rewards);
  const at::Tensor factor = at::where(mask, at::where(end, zero, trace), zero + 1);
  const at::Tensor excess = reverse_scan(factor, rho * (reward + options.gamma * next - v));
  const at::Tensor target = at::where(mask, v + excess, zero);
  const at::Tensor behind = at::where(end, next, next_in_mask(target, mask));
  const at::Tensor advantage = rho * (reward + options.gamma * behind - v);
  const at::ScalarType type = e.rewards.scalar_type();
  return {at::where(mask, advantage, zero).to(type), target.to(type)};
}

VtraceResult vtrace(const Episodes& episodes, const VtraceInputs& inputs,
                    const VtraceOptions& options, const ParallelCalls& parallel) {
  if (!episodes.rewards.is_cpu()) return vtrace_by_scan(episodes, inputs, options);
  Episodes e = checked_vtrace(episodes, inputs);
  const at::ScalarType given = e.rewards.scalar_type();
  const at::ScalarType type = working_type(
      {e.rewards, inputs.values, inputs.next_values, inputs.log_probs, inputs.behavior_log_probs});
  e.rewards = prepared(e.rewards, type);
  const at::Tensor weight = ratios(inputs, type).contiguous();
  const at::Tensor v = prepared(inputs.values, type);
  const at::Tensor n = prepared(inputs.next_values, type);
  const VtraceResult out = type == at::kDouble
                               ? vtrace_of_rows<double>(e, weight, v, n, options, parallel)
                               : vtrace_of_rows<float>(e, weight, v, n, options, parallel);
  return {out.advantages.to(given), out.targets.to(given)};
}

struct Vtrace final : Node {
  EpisodePorts episodes{this};
  Input<LogProbs> log_probs{this, "log_probs", "of the policy that is trained"};
  Input<LogProbs> behavior{this, "behavior_log_probs", "of the policy that acted"};
  Input<Values> values{this, "values", "the value of each step's state", {.dims = "N,T"}};
  Input<Values> next_values{
      this, "next_values", "the value of each step's next state", {.dims = "N,T"}};
  Output<Advantages> advantages{this, "advantages", "for the policy gradient", {.dims = "N,T"}};
  Output<Returns> targets{this, "targets", "v_t, for the value function", {.dims = "N,T"}};
  Param<double> gamma{this, "gamma", 0.99, "discount", {.min = 0, .max = 1}};
  Param<double> rho_clip{
      this,
      "rho_clip",
      1.0,
      "upper bound of the ratio in a step's own term: fixes which policy's value",
      {.min = 0, .exclusive_min = true}};
  Param<double> c_clip{this,
                       "c_clip",
                       1.0,
                       "upper bound of the ratio that carries later terms: speed against variance",
                       {.min = 0}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"IMPALA", "off-policy", "importance weighted actor-critic"}};
  Doc doc{this,
          "v_t = V_t + rho_t (r_t + gamma V_{t+1} - V_t) + gamma c_t (v_{t+1} - V_{t+1}), with rho "
          "and c the clipped ratios; advantage rho_t (r_t + gamma v_{t+1} - V_t); all [N,T].\n"
          "Where an episode is truncated, next_values stands for v_{t+1}, never the target of the "
          "next episode."};

  void run(Step& step) const override {
    const EpisodePorts::Read read = episodes(step);
    const LogProbs& current = step[log_probs];
    const LogProbs& acted = step[behavior];
    require_same_rows("log_probs", current.log_probs.size(0), current.batch, "behavior_log_probs",
                      acted.log_probs.size(0), acted.batch);
    Episodes e = read.episodes;
    if (!e.mask.defined()) e.mask = current.mask;
    const VtraceResult out = vtrace(
        e, {current.log_probs, acted.log_probs, step[values].values, step[next_values].values},
        {gamma(), rho_clip(), c_clip()}, calls_of(step));
    require_finite_tokens(faults_of_rows(out.targets, e),
                          {{"rewards", e.rewards, e.mask},
                           {"values", step[values].values, e.mask},
                           {"next_values", step[next_values].values, e.mask, ends_of(e)},
                           {"log_probs", current.log_probs, e.mask},
                           {"behavior_log_probs", acted.log_probs, e.mask}});
    step[advantages] = advantages_of(out.advantages, read.from);
    step[targets] = Returns{out.targets, read.from.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Vtrace, "V-trace (IMPALA)", "arXiv:1802.01561")
