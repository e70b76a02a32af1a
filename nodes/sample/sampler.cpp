#include "nodes/sample/sampler.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/core/problem.h"
#include "nodes/text/vector_math.h"

namespace rewardloom {

namespace {

/// Whether no number among these is an infinity or none.
REWARDLOOM_VECTORISED
bool all_finite(const float* x, std::int64_t count) {
  using namespace vector_math;
  Floats total{};
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) total += load(x + i) * 0.0f;
  if (i < count) total += load_some(x + i, count - i, 0) * 0.0f;
  return sum(total) == 0.0f;
}

bool has_row_kernels(const at::Tensor& logits) {
  return logits.device().is_cpu() && logits.scalar_type() == at::kFloat;
}

void check(const at::Tensor& logits, const SamplingOptions& options) {
  if (!(options.temperature >= 0) || options.top_k < 0 || !(options.top_p > 0) ||
      options.top_p > 1 || !(options.min_p >= 0) || options.min_p > 1) {
    throw Failure(
        "sampling-options",
        fmt::format("temperature {}, top_k {}, top_p {} and min_p {} do not make a distribution",
                    options.temperature, options.top_k, options.top_p, options.min_p),
        "temperature and top_k are at least 0, top_p is above 0, top_p and min_p at most 1");
  }
  if (has_row_kernels(logits) && logits.is_contiguous() &&
      all_finite(logits.data_ptr<float>(), logits.numel())) {
    return;
  }
  const at::Tensor finite = logits.isfinite().all(1);
  if (finite.all().item<bool>()) return;
  throw Failure("non-finite-logits",
                fmt::format("row {} of the logits holds an infinity or no number",
                            finite.logical_not().nonzero()[0].item<std::int64_t>()),
                "the weights have diverged; lower the learning rate");
}

/// The id at which the cumulated weights e^((z - highest) / T) exceed uniform times their sum.
std::int64_t pick(const float* row, const bool* support, std::int64_t vocab, double inverse,
                  double uniform, std::vector<double>& weights) {
  float highest = row[0];
  for (std::int64_t i = 1; i < vocab; ++i) highest = std::max(highest, row[i]);
  double total = 0;
  std::int64_t last = 0;
  for (std::int64_t i = 0; i < vocab; ++i) {
    weights[i] =
        support != nullptr && !support[i]
            ? 0.0
            : static_cast<double>(std::exp(static_cast<float>((row[i] - highest) * inverse)));
    total += weights[i];
    if (weights[i] > 0) last = i;
  }
  const double wanted = uniform * total;
  double cumulated = 0;
  for (std::int64_t i = 0; i < last; ++i) {
    cumulated += weights[i];
    if (cumulated > wanted) return i;
  }
  return last;
}

/// The lowest id of the highest logit of each row.
at::Tensor most_likely(const at::Tensor& logits) {
  const std::int64_t rows = logits.size(0), vocab = logits.size(1);
  at::Tensor tokens = at::empty({rows}, at::kLong);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* const row = logits.data_ptr<float>() + r * vocab;
    tokens.data_ptr<std::int64_t>()[r] = std::max_element(row, row + vocab) - row;
  }
  return tokens;
}

at::Tensor pick_all(const at::Tensor& logits, const at::Tensor& uniforms,
                    const SamplingOptions& options) {
  const std::int64_t rows = logits.size(0), vocab = logits.size(1);
  const at::Tensor support =
      options.truncates() ? support_of(logits, options).contiguous() : at::Tensor();
  at::Tensor tokens = at::empty({rows}, at::kLong);
  std::vector<double> weights(vocab);
  for (std::int64_t r = 0; r < rows; ++r) {
    const bool* kept = support.defined() ? support.data_ptr<bool>() + r * vocab : nullptr;
    tokens.data_ptr<std::int64_t>()[r] =
        pick(logits.data_ptr<float>() + r * vocab, kept, vocab, 1.0 / options.temperature,
             uniforms.data_ptr<double>()[r], weights);
  }
  return tokens;
}

/// The same on another device, where a row's sums may be taken in another order.
at::Tensor pick_on_device(const at::Tensor& logits, const at::Tensor& uniforms,
                          const SamplingOptions& options) {
  at::Tensor z = logits.to(at::kDouble) / options.temperature;
  if (options.truncates()) {
    z = z.masked_fill(support_of(logits, options).logical_not(),
                      -std::numeric_limits<double>::infinity());
  }
  const at::Tensor cumulated = z.softmax(1).cumsum(1);
  const at::Tensor wanted =
      uniforms.to(z.device()).unsqueeze(1) * cumulated.narrow(1, z.size(1) - 1, 1);
  return cumulated.le(wanted).sum(1).clamp_max(z.size(1) - 1);
}

}  // namespace

SampledTokens sample_tokens(const at::Tensor& logits, const at::Tensor& uniforms,
                            const SamplingOptions& options, std::int64_t top) {
  check(logits, options);
  const bool on_cpu = has_row_kernels(logits);
  at::Tensor tokens;
  if (options.temperature == 0) {
    // argmax promises no order among equals; the stable sort behind support_of does.
    tokens = on_cpu ? most_likely(logits.contiguous())
                    : support_of(logits, {1.0, 1, 1.0}).to(at::kLong).argmax(1);
  } else {
    tokens = on_cpu ? pick_all(logits.contiguous(), uniforms, options)
                    : pick_on_device(logits, uniforms, options);
  }
  SamplingOptions of_statistics = options;
  if (options.temperature == 0) of_statistics = {};
  const TokenStatistics statistics = token_statistics(logits, tokens, of_statistics);
  SampledTokens out{
      tokens.to(at::kCPU), statistics.log_probs.to(at::kCPU), statistics.entropy.to(at::kCPU), {}};
  if (top > 0) {
    out.top = top_tokens(logits, top, of_statistics);
    out.top = {out.top.tokens.to(at::kCPU), out.top.log_probs.to(at::kCPU)};
  }
  return out;
}

}  // namespace rewardloom
