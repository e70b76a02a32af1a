#include "nodes/correction/rejection.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

constexpr double kLargestLogRatio = 20;
const double kMostGrowth = std::expm1(kLargestLogRatio);
const double kLeastGrowth = std::expm1(-kLargestLogRatio);

enum class Estimator { k1, k2, k3 };
enum class Reduction { token, sum, mean, max };

struct Parts {
  Estimator estimator;
  Reduction reduction;
};

Parts parts_of(RejectionStatistic statistic) {
  using S = RejectionStatistic;
  switch (statistic) {
    case S::token_k1: return {Estimator::k1, Reduction::token};
    case S::token_k2: return {Estimator::k2, Reduction::token};
    case S::token_k3: return {Estimator::k3, Reduction::token};
    case S::seq_sum_k1: return {Estimator::k1, Reduction::sum};
    case S::seq_sum_k2: return {Estimator::k2, Reduction::sum};
    case S::seq_sum_k3: return {Estimator::k3, Reduction::sum};
    case S::seq_mean_k1: return {Estimator::k1, Reduction::mean};
    case S::seq_mean_k2: return {Estimator::k2, Reduction::mean};
    case S::seq_mean_k3: return {Estimator::k3, Reduction::mean};
    case S::seq_max_k2: return {Estimator::k2, Reduction::max};
    case S::seq_max_k3: return {Estimator::k3, Reduction::max};
  }
  return {Estimator::k1, Reduction::mean};
}

/// k3 = exp(x) - 1 - x is convex with its minimum 0 at 0: the x on one side with k3 = value, by
/// Newton's method from outside.
double k3_inverse(double value, bool above) {
  double x = above ? std::min(std::sqrt(2 * value), std::log(3 + 2 * value)) : -1 - value;
  for (int i = 0; i < 100; ++i) {
    const double slope = std::expm1(x);
    const double next = x - (slope - x - value) / slope;
    if (!std::isfinite(next) || next == x) break;
    x = next;
  }
  return x;
}

/// What the statistic must lie between.
struct Band {
  double low = 0;
  double high = 0;

  Band(const RejectionOptions& options, Estimator estimator) : high(options.high) {
    if (estimator != Estimator::k1) return;
    low = std::log(options.low.value_or(1 / options.high));
    high = std::log(options.high);
  }
  /// The same for the log-ratio of each token, where every token must hold: needs no exp.
  static Band of_ratio(const RejectionOptions& options, Estimator estimator) {
    const Band of(options, estimator);
    Band band = of;
    switch (estimator) {
      case Estimator::k1:
        band.low = -of.high;
        band.high = -of.low;
        break;
      case Estimator::k2:
        band.high = std::sqrt(2 * of.high);
        band.low = -band.high;
        break;
      case Estimator::k3:
        band.low = k3_inverse(of.high, false);
        band.high = k3_inverse(of.high, true);
        break;
    }
    return band;
  }
  bool holds(double x) const { return x >= low && x <= high; }
};

/// The estimator per token; where the log-ratio is 0, so are all three.
at::Tensor estimated(const at::Tensor& ratio, Estimator estimator) {
  switch (estimator) {
    case Estimator::k1: return -ratio;
    case Estimator::k2: return ratio.square() * 0.5;
    case Estimator::k3: return (ratio.expm1() - ratio).clamp_min(0);
  }
  return {};
}

at::Tensor reduced(const at::Tensor& values, const at::Tensor& mask, Reduction reduction) {
  switch (reduction) {
    case Reduction::token: return values;
    case Reduction::sum: return values.sum(-1, true);
    case Reduction::mean: return values.sum(-1, true) / mask.sum(-1, true).clamp_min(1);
    case Reduction::max: return values.amax(-1, true);  // k2 and k3 are not negative
  }
  return {};
}

/// As std::clamp, by values: what stands in a loop can be vectorised.
template <class T>
T within(T x, T low, T high) {
  const T held = x < low ? low : x;
  return held > high ? high : held;
}

/// Sum or mean of the estimator f(t) over the tokens of a row.
template <class F>
double row_statistic(const bool* mask, std::int64_t tokens, Reduction reduction, F f) {
  const double sum =
      masked_sum(mask, tokens, [&f](std::int64_t t) { return static_cast<double>(f(t)); });
  if (reduction == Reduction::sum) return sum;
  return sum / static_cast<double>(std::max<std::int64_t>(1, count_tokens(mask, tokens)));
}

void keep_row(const bool* mask, std::int64_t tokens, bool keep, bool* kept) {
  if (keep) {
    std::copy_n(mask, tokens, kept);
  } else {
    std::fill_n(kept, tokens, false);
  }
}

/// One row at a time.
template <class T>
struct RowKeeper {
  const T* p;
  const T* q;
  const T* growth;  ///< exp(p - q) - 1, or null
  const bool* mask;
  std::int64_t tokens;

  T ratio(std::int64_t t) const {
    return within(p[t] - q[t], static_cast<T>(-kLargestLogRatio), static_cast<T>(kLargestLogRatio));
  }
  /// Tokens whose log-ratio lies in the band.
  void by_token(const Band& band, bool* kept) const {
    const T low = static_cast<T>(band.low);
    const T high = static_cast<T>(band.high);
    for (std::int64_t t = 0; t < tokens; ++t) {
      const T x = ratio(t);
      kept[t] = mask[t] & (x >= low) & (x <= high);
    }
  }
  /// All tokens, if no log-ratio leaves the band.
  void by_extreme(const Band& band, bool* kept) const {
    by_token(band, kept);
    keep_row(mask, tokens, std::equal(mask, mask + tokens, kept), kept);
  }
  void by_sum(const Band& band, Estimator estimator, Reduction reduction, bool* kept) const {
    const auto statistic = [&](auto f) { return row_statistic(mask, tokens, reduction, f); };
    double x = 0;
    if (estimator == Estimator::k1) x = statistic([this](std::int64_t t) { return -ratio(t); });
    if (estimator == Estimator::k2) {
      x = statistic([this](std::int64_t t) { return ratio(t) * ratio(t) / 2; });
    }
    if (estimator == Estimator::k3) {
      x = statistic([this](std::int64_t t) {
        const T held = within(growth[t], static_cast<T>(kLeastGrowth), static_cast<T>(kMostGrowth));
        return held - ratio(t);
      });
    }
    keep_row(mask, tokens, band.holds(std::max(x, estimator == Estimator::k1 ? x : 0.0)), kept);
  }
};

template <class T>
at::Tensor kept_in_rows(const SampledLogProbs& in, const Parts& parts,
                        const RejectionOptions& options, const ParallelCalls& parallel) {
  at::Tensor out = at::empty_like(in.mask);
  const bool sums = parts.reduction == Reduction::sum || parts.reduction == Reduction::mean;
  const Band band =
      sums ? Band(options, parts.estimator) : Band::of_ratio(options, parts.estimator);
  // exp(x) - 1 by the vectorised operator; it is held within its bounds in the loop.
  const at::Tensor growth = sums && parts.estimator == Estimator::k3
                                ? (in.log_probs - in.behavior_log_probs).expm1_()
                                : at::Tensor();
  const std::int64_t tokens = in.mask.size(1);
  for_rows(in.mask.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const RowKeeper<T> keeper{
          row_of<const T>(in.log_probs, row), row_of<const T>(in.behavior_log_probs, row),
          row_of<const T>(growth, row), row_of<const bool>(in.mask, row), tokens};
      bool* const kept = row_of<bool>(out, row);
      if (sums) {
        keeper.by_sum(band, parts.estimator, parts.reduction, kept);
      } else if (parts.reduction == Reduction::token) {
        keeper.by_token(band, kept);
      } else {
        keeper.by_extreme(band, kept);
      }
    }
  });
  return out;
}

void require_same_tokens(const SampledLogProbs& in) {
  require_matrix("log_probs", in.log_probs);
  require_sizes("behavior_log_probs", in.behavior_log_probs, "log_probs", in.log_probs.sizes());
  checked_mask(in.mask, "log_probs", in.log_probs.sizes());
}

}  // namespace

at::Tensor kept_tokens_by_operators(const SampledLogProbs& inputs,
                                    const RejectionOptions& options) {
  require_same_tokens(inputs);
  const at::Tensor mask = inputs.mask.to(at::kBool);
  if (mask.size(1) == 0) return mask;
  const Parts parts = parts_of(options.statistic);
  const at::Tensor difference =
      inputs.log_probs.to(at::kDouble) - inputs.behavior_log_probs.to(at::kDouble);
  const at::Tensor ratio = at::where(mask, difference, at::zeros({}, difference.options()))
                               .clamp(-kLargestLogRatio, kLargestLogRatio);
  const at::Tensor x = reduced(estimated(ratio, parts.estimator), mask, parts.reduction);
  const Band band(options, parts.estimator);
  return x.ge(band.low).logical_and(x.le(band.high)).logical_and(mask);
}

at::Tensor kept_tokens(const SampledLogProbs& inputs, const RejectionOptions& options,
                       const ParallelCalls& parallel) {
  if (!inputs.log_probs.is_cpu()) return kept_tokens_by_operators(inputs, options);
  require_same_tokens(inputs);
  const at::ScalarType type = working_type({inputs.log_probs, inputs.behavior_log_probs});
  const SampledLogProbs in{prepared(inputs.log_probs, type),
                           prepared(inputs.behavior_log_probs, type),
                           prepared(inputs.mask, at::kBool)};
  const Parts parts = parts_of(options.statistic);
  return type == at::kDouble ? kept_in_rows<double>(in, parts, options, parallel)
                             : kept_in_rows<float>(in, parts, options, parallel);
}

struct Rejection final : Node {
  Input<LogProbs> log_probs{this, "log_probs", "of the trainer's policy"};
  Optional<LogProbs> behavior{this, "behavior_log_probs", "what the sampler reported"};
  Optional<Completions> completions{this, "completions", "instead: they carry the sampler's"};
  Output<Values> kept{this, "mask", "not 0: kept", {.dims = "N,T"}};
  Output<Values> weights{this, "weights", "1 for kept tokens, for a loss", {.dims = "N,T"}};
  Param<RejectionStatistic> statistic{this, "statistic", RejectionStatistic::seq_mean_k1,
                                      "what must lie in the band"};
  Param<std::optional<double>> low{this,
                                   "low",
                                   std::nullopt,
                                   "lower bound as a ratio, for k1; null: 1 / high",
                                   {.min = 0, .exclusive_min = true}};
  Param<double> high{this,
                     "high",
                     1.1,
                     "upper bound, as a ratio for k1, as a value for k2 and k3",
                     {.min = 0, .exclusive_min = true}};
  Synonyms words{this, {"rejection sampling", "trust region", "mismatch", "veto"}};
  Doc doc{
      this,
      "x = log_probs - behavior_log_probs per token, held within +-20; k1 = -x, k2 = x^2/2, k3 = "
      "exp(x) - 1 - x. A token, or a row, whose statistic leaves the band is dropped; [N,T].\n"
      "Metrics: rejected_tokens, rejected_rows (shares of those with tokens; a row counts if it "
      "lost any)."};

  void run(Step& step) const override {
    const SampledLogProbs in =
        sampled_log_probs(step[log_probs], step[behavior], step[completions]);
    const at::Tensor mask = kept_tokens(in, {statistic(), low(), high()}, calls_of(step));
    const at::Tensor before = row_lengths(in.mask);
    const at::Tensor after = row_lengths(mask);
    const auto share = [](const at::Tensor& part, const at::Tensor& whole) {
      return part.sum().item<double>() / std::max(1.0, whole.sum().item<double>());
    };
    step.metric("rejected_tokens", share(before - after, before));
    step.metric("rejected_rows", share(after<before, before> 0));
    const std::int64_t batch = step[log_probs].batch;
    step[kept] = Values{mask, batch};
    step[weights] = Values{mask.to(in.log_probs.scalar_type()), batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Rejection, "Rejection of off-policy tokens", "richardli.xyz/rl-collapse")
