#include "nodes/shape/sigma_filter.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {
namespace {

constexpr std::int64_t kLanes = 16;

/// Sums term(x) over the masked entries in double. Independent lanes, so that the compiler
/// vectorises; their order is fixed.
template <class T, class Term>
double masked_sum(const T* x, const bool* mask, std::int64_t count, Term term) {
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lanes[j] += mask[i + j] ? term(static_cast<double>(x[i + j])) : 0.0;
    }
  }
  for (; i < count; ++i) lanes[i % kLanes] += mask[i] ? term(static_cast<double>(x[i])) : 0.0;
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

template <class T>
bool is_constant(const T* x, const bool* mask, std::int64_t count) {
  std::int64_t first = 0;
  while (first < count && !mask[first]) ++first;
  for (std::int64_t i = first; i < count; ++i) {
    if (mask[i] && x[i] != x[first]) return false;
  }
  return true;
}

template <class T>
[[noreturn]] void refuse(const T* x, const bool* mask, std::int64_t count, std::int64_t width) {
  std::int64_t i = 0;
  while (i < count && (!mask[i] || std::isfinite(x[i]))) ++i;
  if (i == count) {
    throw Failure("not-finite", "the advantages are too large to be squared",
                  "look for a division by almost nothing upstream");
  }
  throw Failure("not-finite",
                fmt::format("the advantage of row {} at token {} is {}", i / width, i % width,
                            static_cast<double>(x[i])),
                "look at the node that gave it");
}

struct Bounds {
  double mean, scale, low, high;
};

/// Writes the normalised values and which of them are outside; returns how many are.
template <class T>
std::int64_t apply(const T* x, const bool* mask, std::int64_t count, const Bounds& b, T* out,
                   bool* outlier) {
  const T mean = static_cast<T>(b.mean), scale = static_cast<T>(b.scale);
  const T low = static_cast<T>(b.low), high = static_cast<T>(b.high);
  std::int64_t outliers = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const T y = (x[i] - mean) * scale + static_cast<T>(1e-8);
    const bool outside = mask[i] & ((y < low) | (y > high));
    outlier[i] = outside;
    outliers += outside;
    out[i] = mask[i] & !outside ? y : T{0};
  }
  return outliers;
}

template <class T>
void filter(const at::Tensor& values, const at::Tensor& mask, const SigmaFilterOptions& options,
            SigmaFiltered& result) {
  const T* const x = values.data_ptr<T>();
  const bool* const m = mask.data_ptr<bool>();
  const std::int64_t count = values.numel();
  result.tokens = std::count(m, m + count, true);
  if (result.tokens == 0 || is_constant(x, m, count)) return;
  const auto tokens = static_cast<double>(result.tokens);
  const double mean = masked_sum(x, m, count, [](double v) { return v; }) / tokens;
  const double variance =
      masked_sum(x, m, count, [mean](double v) { return (v - mean) * (v - mean); }) / tokens;
  if (!std::isfinite(variance)) refuse(x, m, count, std::max<std::int64_t>(values.size(-1), 1));
  const double centre = options.center == FilterCenter::raw_mean ? mean : 0;
  const Bounds bounds{mean, 1 / std::sqrt(std::max(variance, 1e-8)),
                      std::max(centre - options.k, -options.hard_limit),
                      std::min(centre + options.k, options.hard_limit)};
  result.outliers =
      apply(x, m, count, bounds, result.values.data_ptr<T>(), result.outlier.data_ptr<bool>());
}

}  // namespace

SigmaFiltered sigma_filter(const at::Tensor& values, const at::Tensor& mask,
                           const SigmaFilterOptions& options) {
  if (values.sizes() != mask.sizes()) {
    throw Failure("bad-shape",
                  c10::str("values are ", values.sizes(), ", but the mask is ", mask.sizes()),
                  "values and mask must be of the same completions");
  }
  const bool single = values.scalar_type() == at::kFloat;
  const at::Tensor x = values.detach().to(at::kCPU, single ? at::kFloat : at::kDouble).contiguous();
  const at::Tensor m = mask.to(at::kCPU, at::kBool).contiguous();
  SigmaFiltered result{at::zeros_like(x), at::zeros_like(m)};
  if (single) {
    filter<float>(x, m, options, result);
  } else {
    filter<double>(x, m, options, result);
  }
  result.values = result.values.to(values.options());
  result.outlier = result.outlier.to(values.device());
  return result;
}

namespace {

enum class FilterAction { zero, drop };
constexpr auto choices(FilterAction) {
  return std::to_array<Choice<FilterAction>>({
      {FilterAction::zero, "zero", "the token's advantage is 0; it still counts in every mean"},
      {FilterAction::drop, "drop",
       "and in the completions that come out it is an observation: it counts in no mean"},
  });
}

}  // namespace

struct SigmaFilter final : Node {
  Input<Advantages> values{this,
                           "values",
                           "raw advantages per token",
                           {.dims = "N,T", .needs = {{"scale", {{"not", "normalised"}}}}}};
  Input<Completions> completions{this, "completions", "whose action tokens count"};
  Output<Advantages> out{this,
                         "values",
                         "normalised and filtered; 0 outside the mask",
                         {.dims = "N,T", .facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Output<Completions> kept{this, "completions",
                           "with drop: outliers are no action tokens any more"};
  Param<double> k{this,
                  "k",
                  3.0,
                  "standard deviations beyond which a value is an outlier",
                  {.min = 0, .exclusive_min = true}};
  Param<FilterCenter> center{this, "center", FilterCenter::zero, "what the band lies around"};
  Param<double> hard_limit{
      this, "hard_limit", 10.0, "and anything beyond +- this", {.min = 0, .exclusive_min = true}};
  Param<FilterAction> action{this, "action", FilterAction::zero, "what happens to an outlier"};
  Synonyms words{this, {"StableReinforce", "outlier", "three sigma", "advantage filter"}};
  Doc doc{
      this,
      "y = (x - mean) / std over all action tokens of the batch (population variance), then y = 0 "
      "where it lies outside centre +- k; [N,T] -> [N,T]. Equal values give 0.\n"
      "Metric outliers: the share of action tokens that were filtered."};

  void run(Step& step) const override {
    const Advantages& x = step[values];
    const Completions& c = step[completions];
    SigmaFiltered result = sigma_filter(x.advantages, c.mask(), {k(), center(), hard_limit()});
    if (result.tokens > 0) {
      step.metric("outliers",
                  static_cast<double>(result.outliers) / static_cast<double>(result.tokens));
    }
    Advantages filtered = x;
    filtered.advantages = std::move(result.values);
    step[out] = std::move(filtered);
    Completions remaining = c;
    if (action() == FilterAction::drop) {
      remaining.kinds = c.kinds.masked_fill(result.outlier.to(c.kinds.device()),
                                            static_cast<std::int64_t>(TokenKind::observation));
    }
    step[kept] = std::move(remaining);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(SigmaFilter, "Outlier filter on advantages (StableReinforce)", "arXiv:2505.02835")
