#include "nodes/text/token_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "nodes/text/vector_math.h"

namespace rewardloom {

using namespace vector_math;

namespace {

/// Sums over one row, shifted by its largest entry.
struct RowSums {
  float highest;
  float total;        // sum of e^(z - highest)
  float expectation;  // sum of e^(z - highest) (z - highest)
};

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

REWARDLOOM_INLINE Floats tempered(const float* logits, std::int64_t i, std::int64_t vocab,
                                  float inverse_temperature) {
  const std::int64_t n = vocab - i;
  const Floats z = n >= lanes ? load(logits + i) : load_some(logits + i, n, minus_infinity);
  return z * inverse_temperature;
}

REWARDLOOM_VECTORISED
void row_sums(const float* logits, std::int64_t vocab, float inverse_temperature, RowSums& sums) {
  Floats highest = fill(minus_infinity);
  for (std::int64_t i = 0; i < vocab; i += lanes) {
    highest = larger(highest, tempered(logits, i, vocab, inverse_temperature));
  }
  sums.highest = maximum(highest);
  Floats total{}, expectation{};
  for (std::int64_t i = 0; i < vocab; i += lanes) {
    const Floats shifted = tempered(logits, i, vocab, inverse_temperature) - sums.highest;
    const Floats e = exponential(shifted);
    total += e;
    expectation += e > 0.0f ? e * shifted : Floats{};
  }
  sums.total = sum(total);
  sums.expectation = sum(expectation);
}

/// d[i] = p_i (-d_log_prob - d_entropy (log p_i + H)) / T; the target's own share comes on top.
REWARDLOOM_VECTORISED
void row_backward(const float* logits, std::int64_t vocab, float inverse_temperature,
                  const RowSums& sums, float d_log_prob, float d_entropy, float* d) {
  const float log_total = std::log(sums.total), inverse_total = 1.0f / sums.total;
  const float entropy = log_total - sums.expectation * inverse_total;
  for (std::int64_t i = 0; i < vocab; i += lanes) {
    const Floats shifted = tempered(logits, i, vocab, inverse_temperature) - sums.highest;
    const Floats p = exponential(shifted) * inverse_total;
    const Floats log_p = shifted - log_total;
    const Floats through = -d_log_prob - d_entropy * (log_p + entropy);
    const Floats value = (p > 0.0f ? p * through : Floats{}) * inverse_temperature;
    const std::int64_t n = vocab - i;
    if (n >= lanes)
      store(d + i, value);
    else
      store_some(d + i, value, n);
  }
}

bool has_kernel(const at::Tensor& logits) {
  return logits.device().is_cpu() && logits.scalar_type() == at::kFloat;
}

/// Logits with minus infinity outside the support, to which the targets are added.
at::Tensor supported_logits(const at::Tensor& logits, const at::Tensor& targets,
                            const SamplingOptions& options) {
  if (!options.truncates()) return logits.contiguous();
  const at::Tensor support = support_of(logits, options);
  if (targets.defined()) support.scatter_(1, targets.unsqueeze(1), true);
  return logits.masked_fill(support.logical_not(), minus_infinity);
}

double divisor(const SamplingOptions& options) {
  return options.temperature > 0 ? options.temperature : 1.0;
}

TokenStatistics statistics_by_operators(const at::Tensor& logits, const at::Tensor& targets,
                                        double temperature) {
  const at::Tensor log_p = (logits.to(at::kFloat) / temperature).log_softmax(-1);
  const at::Tensor weighted = (log_p.exp() * log_p).nan_to_num(0.0, 0.0, 0.0);
  return {log_p.gather(1, targets.unsqueeze(1)).squeeze(1), -weighted.sum(-1)};
}

}  // namespace

at::Tensor support_of(const at::Tensor& logits, const SamplingOptions& options) {
  const std::int64_t vocab = logits.size(1);
  // A stable sort of the descending order keeps lower ids first among equals.
  const auto [sorted, order] = logits.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  at::Tensor kept = at::ones(sorted.sizes(), sorted.options().dtype(at::kBool));
  if (options.top_k > 0 && options.top_k < vocab) {
    kept.narrow(1, options.top_k, vocab - options.top_k).fill_(false);
  }
  if (options.top_p < 1.0) {
    const at::Tensor z =
        (sorted.to(at::kDouble) / divisor(options)).masked_fill(kept.logical_not(), minus_infinity);
    const at::Tensor p = z.softmax(1);
    kept = kept.logical_and((p.cumsum(1) - p).lt(options.top_p));
  }
  if (options.min_p > 0) {
    const at::Tensor z = sorted.to(at::kDouble) / divisor(options);
    kept = kept.logical_and((z - z.narrow(1, 0, 1)).ge(std::log(options.min_p)));
  }
  kept.narrow(1, 0, 1).fill_(true);
  return at::zeros_like(kept).scatter(1, order, kept);
}

TokenStatistics token_statistics(const at::Tensor& logits, const at::Tensor& targets,
                                 const SamplingOptions& options) {
  const at::Tensor z = supported_logits(logits, targets, options);
  if (!has_kernel(z)) return statistics_by_operators(z, targets, divisor(options));
  const std::int64_t rows = z.size(0), vocab = z.size(1);
  const float inverse = static_cast<float>(1.0 / divisor(options));
  const at::Tensor wanted = targets.contiguous();
  TokenStatistics out{at::empty({rows}), at::empty({rows})};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = z.data_ptr<float>() + r * vocab;
    RowSums sums;
    row_sums(row, vocab, inverse, sums);
    const float log_total = std::log(sums.total);
    const float at_target = row[wanted.data_ptr<std::int64_t>()[r]] * inverse;
    out.log_probs.data_ptr<float>()[r] = (at_target - sums.highest) - log_total;
    out.entropy.data_ptr<float>()[r] = log_total - sums.expectation / sums.total;
  }
  return out;
}

namespace {

/// The ids of the highest finite entries of a row, at most `count`, in falling order.
std::vector<std::int64_t> highest_ids(const float* row, std::int64_t vocab, std::int64_t count) {
  std::vector<std::int64_t> ids;
  const auto before = [row](std::int64_t a, std::int64_t b) { return row[a] > row[b]; };
  for (std::int64_t i = 0; i < vocab; ++i) {
    const bool full = static_cast<std::int64_t>(ids.size()) == count;
    if (row[i] == minus_infinity || (full && row[i] <= row[ids.back()])) continue;
    if (full) ids.pop_back();
    ids.insert(std::upper_bound(ids.begin(), ids.end(), i, before), i);
  }
  return ids;
}

TopTokens top_by_operators(const at::Tensor& logits, std::int64_t count, double temperature) {
  const at::Tensor log_p = (logits.to(at::kFloat) / temperature).log_softmax(-1);
  const auto [sorted, order] = log_p.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  const std::int64_t there = std::min(count, log_p.size(1));
  at::Tensor values = sorted.narrow(1, 0, there), ids = order.narrow(1, 0, there);
  const at::Tensor outside = values.eq(minus_infinity);
  values = at::constant_pad_nd(values.masked_fill(outside, 0), {0, count - there});
  ids = at::constant_pad_nd(ids.masked_fill(outside, -1), {0, count - there}, -1);
  return {ids, values};
}

}  // namespace

TopTokens top_tokens(const at::Tensor& logits, std::int64_t count, const SamplingOptions& options) {
  const at::Tensor z = supported_logits(logits, {}, options);
  if (!has_kernel(z)) return top_by_operators(z, count, divisor(options));
  const std::int64_t rows = z.size(0), vocab = z.size(1);
  const float inverse = static_cast<float>(1.0 / divisor(options));
  TopTokens out{at::full({rows, count}, -1, at::kLong), at::zeros({rows, count})};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const row = z.data_ptr<float>() + r * vocab;
    RowSums sums;
    row_sums(row, vocab, inverse, sums);
    const float log_total = std::log(sums.total);
    std::int64_t at = r * count;
    for (const std::int64_t id : highest_ids(row, vocab, count)) {
      out.tokens.data_ptr<std::int64_t>()[at] = id;
      out.log_probs.data_ptr<float>()[at++] = (row[id] * inverse - sums.highest) - log_total;
    }
  }
  return out;
}

at::Tensor token_statistics_backward(const at::Tensor& logits, const at::Tensor& targets,
                                     const SamplingOptions& options, const at::Tensor& d_log_probs,
                                     const at::Tensor& d_entropy) {
  const at::Tensor z = supported_logits(logits, targets, options);
  const double temperature = divisor(options);
  if (!has_kernel(z)) {
    const at::Tensor log_p = (z.to(at::kFloat) / temperature).log_softmax(-1);
    const at::Tensor p = log_p.exp();
    at::Tensor d = -p * d_log_probs.unsqueeze(1);
    d.scatter_add_(1, targets.unsqueeze(1), d_log_probs.to(d.scalar_type()).unsqueeze(1));
    if (d_entropy.defined()) {
      const at::Tensor weighted = (p * log_p).nan_to_num(0.0, 0.0, 0.0);
      const at::Tensor entropy = -weighted.sum(-1, true);
      d = d - d_entropy.unsqueeze(1) * (weighted + p * entropy);
    }
    return d / temperature;
  }
  const std::int64_t rows = z.size(0), vocab = z.size(1);
  const float inverse = static_cast<float>(1.0 / temperature);
  const at::Tensor wanted = targets.contiguous(), d_lp = d_log_probs.to(at::kFloat).contiguous();
  const at::Tensor d_h =
      d_entropy.defined() ? d_entropy.to(at::kFloat).contiguous() : at::zeros({rows});
  at::Tensor d = at::empty({rows, vocab});
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = z.data_ptr<float>() + r * vocab;
    float* to = d.data_ptr<float>() + r * vocab;
    RowSums sums;
    row_sums(row, vocab, inverse, sums);
    const float through = d_lp.data_ptr<float>()[r];
    row_backward(row, vocab, inverse, sums, through, d_h.data_ptr<float>()[r], to);
    to[wanted.data_ptr<std::int64_t>()[r]] += through * inverse;
  }
  return d;
}

}  // namespace rewardloom
