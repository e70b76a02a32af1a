#include "nodes/advantage/td_lambda.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"

namespace rewardloom {
namespace {

template <class T>
at::Tensor td_of_rows(const Episodes& e, const at::Tensor& next_values,
                      const TdLambdaOptions& options, const ParallelCalls& parallel) {
  at::Tensor out = at::empty_like(e.rewards);
  const std::int64_t tokens = e.rewards.size(1);
  const double own = options.gamma * (1 - options.lambda);
  const double later = options.gamma * options.lambda;
  for_rows(e.rewards.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T* const r = row_of<const T>(e.rewards, row);
      const T* const v = row_of<const T>(next_values, row);
      const bool* const mask = row_of<const bool>(e.mask, row);
      const bool* const done = row_of<const bool>(e.done, row);
      const bool* const terminated = row_of<const bool>(e.terminated, row);
      T* const g = row_of<T>(out, row);
      double target = 0;
      bool follows = false;  // whether a later step of the row counts
      for (std::int64_t t = tokens; t-- > 0;) {
        if (mask != nullptr && !mask[t]) {
          g[t] = T{0};
          continue;
        }
        double next = static_cast<double>(v[t]);
        bool goes_on = follows;
        if (done != nullptr && done[t]) {
          goes_on = false;
          if (terminated[t]) next = 0;
        }
        target = static_cast<double>(r[t]) +
                 (goes_on ? own * next + later * target : options.gamma * next);
        g[t] = static_cast<T>(target);
        follows = true;
      }
    }
  });
  return out;
}

Episodes checked_td(const Episodes& episodes, const at::Tensor& next_values) {
  const Episodes e = checked(episodes);
  require_sizes("next_values", next_values, "rewards", e.rewards.sizes());
  return e;
}

}  // namespace

at::Tensor td_lambda_by_scan(const Episodes& episodes, const at::Tensor& next_values,
                             const TdLambdaOptions& options) {
  const Episodes e = checked_td(episodes, next_values);
  const at::Tensor zero = at::zeros({}, e.rewards.options().dtype(at::kDouble));
  const at::Tensor mask = e.mask.defined() ? e.mask : at::ones_like(e.rewards, at::kBool);
  at::Tensor end = last_in_mask(mask);
  at::Tensor next = at::where(mask, next_values.to(at::kDouble), zero);
  if (e.done.defined()) {
    end = end.logical_or(e.done.logical_and(mask));
    next = at::where(e.terminated, zero, next);
  }
  const at::Tensor own =
      at::where(end, zero + options.gamma, zero + options.gamma * (1 - options.lambda));
  const at::Tensor later = at::where(end, zero, zero + options.gamma * options.lambda);
  const at::Tensor sum = at::where(mask, e.rewards.to(at::kDouble) + own * next, zero);
  const at::Tensor out = reverse_scan(at::where(mask, later, zero + 1), sum);
  return at::where(mask, out, zero).to(e.rewards.scalar_type());
}

at::Tensor td_lambda(const Episodes& episodes, const at::Tensor& next_values,
                     const TdLambdaOptions& options, const ParallelCalls& parallel) {
  if (!episodes.rewards.is_cpu()) return td_lambda_by_scan(episodes, next_values, options);
  Episodes e = checked_td(episodes, next_values);
  const at::ScalarType type = working_type({e.rewards, next_values});
  const at::ScalarType given = e.rewards.scalar_type();
  e.rewards = prepared(e.rewards, type);
  const at::Tensor v = prepared(next_values, type);
  const at::Tensor out = type == at::kDouble ? td_of_rows<double>(e, v, options, parallel)
                                             : td_of_rows<float>(e, v, options, parallel);
  return out.to(given);
}

struct TdLambda final : Node {
  EpisodePorts episodes{this};
  Input<Values> next_values{
      this, "next_values", "the value of each step's next state", {.dims = "N,T"}};
  Output<Returns> returns{this, "returns", "one target per step", {.dims = "N,T"}};
  Param<double> gamma{this, "gamma", 0.99, "discount", {.min = 0, .max = 1}};
  Param<double> lambda{this, "lambda", 0.95, "0: TD(0); 1: TD(1)", {.min = 0, .max = 1}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"TD(0)", "TD(1)", "eligibility traces", "value targets"}};
  Doc doc{this,
          "G_t = r_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1}); [N,T].\n"
          "Where a row or an episode ends, V_{t+1} takes the place of G_{t+1}; a terminated step "
          "has none. Steps outside the mask are stepped over."};

  void run(Step& step) const override {
    const EpisodePorts::Read read = episodes(step);
    const Episodes& e = read.episodes;
    const at::Tensor& next = step[next_values].values;
    at::Tensor targets = td_lambda(e, next, {gamma(), lambda()}, calls_of(step));
    require_finite_tokens(faults_of_rows(targets, e), {{"rewards", e.rewards, e.mask},
                                                       {"next_values", next, e.mask, ends_of(e)}});
    step[returns] = Returns{std::move(targets), read.from.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(TdLambda, "TD(lambda) returns", "Sutton and Barto 2018, section 12.1")
