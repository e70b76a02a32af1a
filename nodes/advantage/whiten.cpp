#include "nodes/advantage/whiten.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/finite_tokens.h"

namespace rewardloom {
namespace {

/// What is taken away and what the rest is multiplied with; `constant`: all values are equal.
struct Normaliser {
  double count = 0;
  double mean = 0;
  double scale = 1;
  bool constant = true;
};

double scale_of(double variance, const WhitenOptions& options) {
  const double held = options.epsilon_mode == EpsilonMode::add
                          ? variance + options.epsilon
                          : std::max(variance, options.epsilon);
  return 1 / std::sqrt(held);
}

struct RowSums {
  double sum = 0;
  double squares = 0;  ///< of distances from the row's own mean
  std::int64_t count = 0;
  bool constant = true;

  double mean() const { return count == 0 ? 0 : sum / static_cast<double>(count); }
};

/// values and mask [N,T], contiguous; results depend on no piece border: rows are summed in order.
template <class T>
class CpuWhitener {
 public:
  CpuWhitener(const at::Tensor& values, const at::Tensor& mask, const ParallelCalls& parallel)
      : values_(values), mask_(mask), parallel_(parallel), tokens_(values.size(1)) {}

  /// A row's spread is taken around its own mean while the row is in the cache, and the rows' are
  /// then joined (Chan et al. 1979): the batch is read once.
  Normaliser moments(const WhitenOptions* options) const {
    Normaliser out;
    T first{};
    if (!first_value(first)) return out;
    std::vector<RowSums> rows(static_cast<std::size_t>(values_.size(0)));
    each_row([&](std::int64_t row, const T* x, const bool* m) {
      rows[static_cast<std::size_t>(row)] = sums_of(x, m, first, options != nullptr);
    });
    RowSums all;
    for (const RowSums& row : rows) {
      all.sum += row.sum;
      all.count += row.count;
      all.constant = all.constant && row.constant;
    }
    out.count = static_cast<double>(all.count);
    out.constant = all.constant;
    out.mean = all.constant ? static_cast<double>(first) : all.sum / out.count;
    if (out.constant || options == nullptr) return out;
    for (const RowSums& row : rows) {
      const double distance = row.mean() - out.mean;
      all.squares += row.squares + static_cast<double>(row.count) * distance * distance;
    }
    const double lost = options->variance == Divisor::sample && out.count > 1 ? 1 : 0;
    out.scale = scale_of(all.squares / (out.count - lost), *options);
    return out;
  }

  /// (x - mean) * scale + kept inside the mask, 0 outside.
  at::Tensor applied(const Normaliser& n, double kept) const {
    at::Tensor out = at::empty_like(values_);
    const double mean = n.mean;
    const double scale = n.constant ? 0 : n.scale;
    each_row([&](std::int64_t row, const T* x, const bool* m) {
      fill_masked(m, tokens_, row_of<T>(out, row), [=](std::int64_t t) {
        return static_cast<T>((static_cast<double>(x[t]) - mean) * scale + kept);
      });
    });
    return out;
  }

 private:
  template <class F>
  void each_row(F f) const {
    for_rows(values_.size(0), tokens_, parallel_, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t row = first; row < last; ++row) {
        f(row, row_of<const T>(values_, row), row_of<const bool>(mask_, row));
      }
    });
  }
  RowSums sums_of(const T* x, const bool* m, T first, bool with_squares) const {
    RowSums row;
    row.sum = masked_sum(m, tokens_, [x](std::int64_t t) { return static_cast<double>(x[t]); });
    row.count = count_tokens(m, tokens_);
    std::int64_t t = 0;  // ends at once where values differ, as they mostly do
    while (t < tokens_ && !(m[t] & (x[t] != first))) ++t;
    row.constant = t == tokens_;
    if (!with_squares) return row;
    row.squares = masked_sum(m, tokens_, [x, mean = row.mean()](std::int64_t i) {
      const double distance = static_cast<double>(x[i]) - mean;
      return distance * distance;
    });
    return row;
  }
  bool first_value(T& first) const {
    const bool* const m = mask_.data_ptr<bool>();
    const bool* const at = std::find(m, m + mask_.numel(), true);
    if (at == m + mask_.numel()) return false;
    first = values_.data_ptr<T>()[at - m];
    return true;
  }

  const at::Tensor& values_;
  const at::Tensor& mask_;
  const ParallelCalls& parallel_;
  const std::int64_t tokens_;
};

template <class T>
at::Tensor whitened_rows(const at::Tensor& values, const at::Tensor& mask,
                         const WhitenOptions* options, const ParallelCalls& parallel) {
  const CpuWhitener<T> whitener(values, mask, parallel);
  const Normaliser n = whitener.moments(options);
  return whitener.applied(n, options != nullptr && !options->shift_mean ? n.mean : 0);
}

at::Tensor matching_mask(const at::Tensor& values, const at::Tensor& mask) {
  if (values.sizes() == mask.sizes()) return mask.to(at::kBool);
  throw Failure("bad-shape",
                c10::str("values are ", values.sizes(), ", but the mask is ", mask.sizes()),
                "values and mask must be of the same completions");
}

/// On the CPU without options: only the mean is taken away.
at::Tensor on_cpu(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions* options,
                  const ParallelCalls& parallel) {
  const at::ScalarType type = working_type({values});
  const std::int64_t width = values.dim() == 2 ? values.size(1) : values.numel();
  const std::int64_t rows = values.dim() == 2 ? values.size(0) : 1;
  const at::Tensor x = prepared(values, type).reshape({rows, width});
  const at::Tensor m = mask.contiguous().reshape({rows, width});
  const at::Tensor out = type == at::kDouble ? whitened_rows<double>(x, m, options, parallel)
                                             : whitened_rows<float>(x, m, options, parallel);
  return out.reshape(values.sizes()).to(values.scalar_type());
}

/// The tensor centred in double inside the mask, its mean, its count, and whether it is constant.
struct Centred {
  at::Tensor values;
  at::Tensor mean;
  double count = 0;
  bool constant = true;
};

Centred centred_by_operators(const at::Tensor& values, const at::Tensor& where) {
  const at::Tensor zero = at::zeros({}, values.options().dtype(at::kDouble));
  const at::Tensor x = at::where(where, values.to(at::kDouble), zero);
  Centred out{at::zeros_like(x), zero, where.sum().item<double>(), true};
  if (out.count == 0) return out;
  const at::Tensor valid = x.masked_select(where);
  const at::Tensor low = valid.min();
  out.constant = low.equal(valid.max());
  out.mean = out.constant ? low : valid.sum() / out.count;
  if (!out.constant) out.values = at::where(where, x - out.mean, zero);
  return out;
}

}  // namespace

at::Tensor whiten_by_operators(const at::Tensor& values, const at::Tensor& mask,
                               const WhitenOptions& options) {
  const at::Tensor where = matching_mask(values, mask);
  const Centred x = centred_by_operators(values, where);
  at::Tensor out = x.values;
  if (!x.constant) {
    const double lost = options.variance == Divisor::sample && x.count > 1 ? 1 : 0;
    const at::Tensor variance = x.values.square().sum() / (x.count - lost);
    out = out * (options.epsilon_mode == EpsilonMode::add
                     ? (variance + options.epsilon).rsqrt()
                     : variance.clamp_min(options.epsilon).rsqrt());
  }
  if (!options.shift_mean) out = at::where(where, out + x.mean, at::zeros_like(x.mean));
  return out.to(values.scalar_type());
}

at::Tensor whiten(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions& options,
                  const ParallelCalls& parallel) {
  if (!values.is_cpu()) return whiten_by_operators(values, mask, options);
  return on_cpu(values, matching_mask(values, mask), &options, parallel);
}

at::Tensor whiten(const at::Tensor& values, const at::Tensor& mask, const WhitenOptions& options) {
  return whiten(values, mask, options, {});
}

at::Tensor subtract_mean(const at::Tensor& values, const at::Tensor& mask,
                         const ParallelCalls& parallel) {
  const at::Tensor where = matching_mask(values, mask);
  if (values.is_cpu()) return on_cpu(values, where, nullptr, parallel);
  return centred_by_operators(values, where).values.to(values.scalar_type());
}

namespace {

enum class WhitenPreset { none, verl, trl, openrlhf };
constexpr auto choices(WhitenPreset) {
  return std::to_array<Choice<WhitenPreset>>({
      {WhitenPreset::none, "none", "the parameters as given"},
      {WhitenPreset::verl, "verl", "sample variance, 1e-8 added"},
      {WhitenPreset::trl, "trl", "sample variance, 1e-8 added"},
      {WhitenPreset::openrlhf, "openrlhf", "population variance, floor 1e-8"},
  });
}

}  // namespace

struct Whiten final : Node {
  Input<Advantages> values{this,
                           "values",
                           "what is to be normalised",
                           {.dims = "N,T", .needs = {{"scale", {{"not", "normalised"}}}}}};
  Input<Completions> completions{this, "completions", "whose action tokens count"};
  Output<Advantages> whitened{
      this,
      "whitened",
      "zero mean, unit spread; 0 outside the mask",
      {.dims = "N,T", .facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Param<Divisor> variance{this, "variance", Divisor::sample, "divisor of the variance"};
  Param<double> epsilon{this, "epsilon", 1e-8, "keeps the spread from 0", {.min = 0}};
  Param<EpsilonMode> epsilon_mode{this, "epsilon_mode", EpsilonMode::add,
                                  "how epsilon enters the spread"};
  Param<bool> shift_mean{this, "shift_mean", true, "false: the mean is added back"};
  Param<WhitenPreset> preset{this, "preset", WhitenPreset::none,
                             "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this, "verl", {{"variance", "sample"}, {"epsilon", 1e-8}, {"epsilon_mode", "add"}}};
  Preset trl{this, "trl", {{"variance", "sample"}, {"epsilon", 1e-8}, {"epsilon_mode", "add"}}};
  Preset openrlhf{
      this, "openrlhf", {{"variance", "population"}, {"epsilon", 1e-8}, {"epsilon_mode", "floor"}}};
  Synonyms words{this, {"normalise", "standardise", "masked_whiten"}};
  Doc doc{
      this,
      "x -> (x - mean) * rsqrt(variance + epsilon) over all action tokens of the batch; [N,T].\n"
      "One token, or equal values, give 0 and an alarm: there is no spread to divide by."};

  void run(Step& step) const override {
    const Advantages& x = step[values];
    const at::Tensor mask = step[completions].mask();
    if (row_lengths(mask).sum().item<std::int64_t>() == 1) {
      step.alarm("whiten-one-token", "only one action token: its whitened value is 0");
    }
    Advantages out = x;
    out.advantages = whiten(x.advantages, mask,
                            {variance(), epsilon(), epsilon_mode(), shift_mean()}, calls_of(step));
    require_finite_tokens(row_starts(out.advantages, mask), {{"values", x.advantages, mask}});
    step[whitened] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Whiten, "Whiten over action tokens", "arXiv:1707.06347")
