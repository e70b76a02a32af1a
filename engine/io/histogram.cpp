#include "engine/io/histogram.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "engine/core/problem.h"

namespace rewardloom {

namespace {

[[noreturn]] void refuse(const std::string& text) {
  throw Failure("distribution-input", text, "give real values and a bool mask of their rows");
}

// [N] or [N,T] bool to one flag per element of `values`.
at::Tensor flags_for(const at::Tensor& values, at::Tensor present) {
  if (present.scalar_type() != at::kBool) {
    refuse(fmt::format("present is {}, expected Bool", c10::toString(present.scalar_type())));
  }
  const auto shape = values.sizes();
  const auto leading = present.sizes();
  const bool fits =
      leading.size() <= shape.size() && std::equal(leading.begin(), leading.end(), shape.begin());
  if (!fits) {
    refuse(fmt::format("present has shape [{}], but the values have [{}]", fmt::join(leading, ","),
                       fmt::join(shape, ",")));
  }
  while (present.dim() < values.dim()) present = present.unsqueeze(-1);
  return present.expand(shape).to(at::kCPU).contiguous();
}

// The finite present values, counting the others.
std::vector<double> select(const at::Tensor& values, const at::Tensor& present, Distribution& d) {
  if (values.is_complex()) refuse("values are complex");
  const at::Tensor all = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* data = all.data_ptr<double>();
  const at::Tensor flags = present.defined() ? flags_for(values, present.detach()) : at::Tensor();
  const bool* flag = flags.defined() ? flags.data_ptr<bool>() : nullptr;
  std::vector<double> kept;
  kept.reserve(static_cast<std::size_t>(all.numel()));
  for (std::int64_t i = 0; i < all.numel(); ++i) {
    if (flag != nullptr && !flag[i]) {
      ++d.absent;
    } else if (!std::isfinite(data[i])) {
      ++d.nonfinite;
    } else {
      kept.push_back(data[i]);
    }
  }
  return kept;
}

void set_moments(const std::vector<double>& values, Distribution& d) {
  const auto n = static_cast<double>(values.size());
  const auto [min, max] = std::minmax_element(values.begin(), values.end());
  d.min = *min;
  d.max = *max;
  // Exactly, where rounding would make a spread out of none.
  d.mean = d.min;
  d.std = 0;
  if (d.min == d.max) return;
  double sum = 0;
  for (const double v : values) sum += v;
  d.mean = sum / n;
  double squares = 0;
  for (const double v : values) squares += (v - d.mean) * (v - d.mean);
  d.std = std::sqrt(squares / n);
}

void set_bins(const std::vector<double>& values, int bins, Distribution& d) {
  d.lo = d.min;
  d.hi = d.max;
  d.bins.assign(static_cast<std::size_t>(bins), 0);
  // Halved, so that the width of the widest range does not overflow.
  const double half_width = d.hi / 2 - d.lo / 2;
  if (half_width <= 0) {
    d.bins[0] = values.size();
    return;
  }
  const double last = bins - 1;
  for (const double v : values) {
    const double at = (v / 2 - d.lo / 2) / half_width * bins;
    ++d.bins[static_cast<std::size_t>(std::min(at, last))];
  }
}

// Reorders `values`: each quantile needs only its two neighbours in place, found among what is left
// above the last.
void set_quantiles(std::vector<double>& values, Distribution& d) {
  auto from = values.begin();
  for (std::size_t i = 0; i < quantile_levels.size(); ++i) {
    const double rank = quantile_levels[i] * static_cast<double>(values.size() - 1);
    const auto below = values.begin() + static_cast<std::ptrdiff_t>(std::floor(rank));
    const double fraction = rank - std::floor(rank);
    std::nth_element(from, below, values.end());
    from = below;
    const double above = fraction > 0 ? *std::min_element(below + 1, values.end()) : *below;
    d.quantiles[i] = std::lerp(*below, above, fraction);
  }
}

}  // namespace

Distribution distribution_of(const at::Tensor& values, const at::Tensor& present, int bins) {
  if (!values.defined()) refuse("values are undefined");
  if (bins < 1) refuse(fmt::format("bins is {}, at least 1 is needed", bins));
  Distribution d;
  std::vector<double> kept = select(values, present, d);
  d.count = static_cast<std::int64_t>(kept.size());
  if (kept.empty()) {
    d.bins.assign(static_cast<std::size_t>(bins), 0);
    return d;
  }
  set_moments(kept, d);
  set_bins(kept, bins, d);
  set_quantiles(kept, d);
  return d;
}

}  // namespace rewardloom
