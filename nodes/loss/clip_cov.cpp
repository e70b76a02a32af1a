#include <torch/types.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include "engine/core/random.h"
#include "engine/core/registry.h"
#include "nodes/loss/covariance.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {

at::Tensor token_covariance(const PolicyRows& rows) {
  const at::Tensor log_probs = rows.log_probs.detach();
  const at::Tensor covariance = (rows.advantages - masked_mean(rows.advantages, rows.mask)) *
                                (log_probs - masked_mean(log_probs, rows.mask));
  return at::where(rows.mask, covariance, at::zeros({}, covariance.options()));
}

namespace {

/// A number for each candidate that depends on the candidate alone: a choice by it is repeatable
/// and changes with neither padding nor the order of rows.
std::vector<std::uint64_t> keys_of(const PolicyRows& rows, const at::Tensor& flat) {
  std::vector<std::uint64_t> keys(static_cast<std::size_t>(flat.numel()), 0);
  for (const at::Tensor& source : {rows.log_probs, rows.old_log_probs, rows.advantages}) {
    const at::Tensor values =
        source.detach().reshape(-1).index_select(0, flat).to(at::kCPU, at::kDouble).contiguous();
    const double* const value = values.data_ptr<double>();
    for (std::size_t i = 0; i < keys.size(); ++i) {
      keys[i] = mix(keys[i], std::bit_cast<std::uint64_t>(value[i]));
    }
  }
  return keys;
}

/// At most `count` of the candidates [N,T] bool.
at::Tensor chosen_of(const at::Tensor& candidates, std::int64_t count, const PolicyRows& rows) {
  const at::Tensor flat = candidates.reshape(-1).nonzero().squeeze(-1);
  if (flat.numel() <= count) return candidates;
  const std::vector<std::uint64_t> keys = keys_of(rows, flat);
  std::vector<std::int64_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return keys[a] < keys[b]; });
  order.resize(static_cast<std::size_t>(count));
  const at::Tensor kept = flat.index_select(0, at::tensor(order, at::kLong).to(flat.device()));
  return at::zeros_like(candidates).reshape(-1).index_fill(0, kept, 1).reshape(candidates.sizes());
}

/// Places of at most `count` candidates: the choice of chosen_of.
std::vector<std::int64_t> dropped_places(const at::Tensor& covariance, std::int64_t count,
                                         const PolicyRows& rows, const ClipCovOptions& options) {
  const auto low = static_cast<float>(options.cov_low), high = static_cast<float>(options.cov_high);
  const at::Tensor x = rows.log_probs.detach().contiguous(), old = rows.old_log_probs.contiguous(),
                   a = rows.advantages.contiguous();
  const float* const all = covariance.data_ptr<float>();
  std::vector<std::pair<std::uint64_t, std::int64_t>> candidates;
  for (std::int64_t i = 0; i < covariance.numel(); ++i) {
    if (!(all[i] > low && all[i] < high)) continue;
    std::uint64_t key = 0;
    for (const at::Tensor* source : {&x, &old, &a}) {
      key =
          mix(key, std::bit_cast<std::uint64_t>(static_cast<double>(source->data_ptr<float>()[i])));
    }
    candidates.emplace_back(key, i);
  }
  const auto kept = std::min(count, static_cast<std::int64_t>(candidates.size()));
  std::partial_sort(candidates.begin(), candidates.begin() + kept, candidates.end());
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < kept; ++i) {
    places.push_back(candidates[static_cast<std::size_t>(i)].second);
  }
  return places;
}

LossResult in_one_pass(const LossBatch& batch, const PolicyRows& rows,
                       const ClipCovOptions& options) {
  const TokenPass pass = covariance_pass(rows.mask, rows.log_probs, rows.old_log_probs,
                                         rows.advantages, options.low, options.high);
  const double tokens = token_count(rows.mask).item<double>();
  const auto most = std::max<std::int64_t>(1, static_cast<std::int64_t>(options.ratio * tokens));
  const std::vector<std::int64_t> dropped = dropped_places(pass.covariance, most, rows, options);
  for (const std::int64_t place : dropped) {
    pass.value.data_ptr<float>()[place] = 0;
    pass.derivative.data_ptr<float>()[place] = 0;
  }
  LossResult result;
  result.loss =
      aggregate_masked(differentiable(rows.log_probs, pass), rows.mask, options.aggregate, batch);
  const double share = static_cast<double>(dropped.size()) / std::max(1.0, tokens);
  result.outputs = {{"clip_fraction", at::full({}, share)},
                    {"approx_kl", at::full({}, pass.means[2])}};
  return result;
}

}  // namespace

LossResult clip_cov_loss(const LossBatch& batch, const ClipCovOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  require_whole_step(batch, raw.mask, "compares all tokens of a step");
  if (fits_token_pass(raw.mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    return in_one_pass(batch, raw, options);
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor ratio = bounded_exp(rows.log_ratio());
  const at::Tensor plain = -rows.advantages * ratio;
  const at::Tensor clipped = -rows.advantages * ratio.clamp(1 - options.low, 1 + options.high);
  const at::Tensor covariance = token_covariance(rows);
  const at::Tensor candidates = rows.mask.logical_and(covariance > options.cov_low)
                                    .logical_and(covariance < options.cov_high)
                                    .logical_and((clipped > plain).logical_not());
  const double tokens = rows.mask.sum().item().toDouble();
  const auto count = std::max<std::int64_t>(1, static_cast<std::int64_t>(options.ratio * tokens));
  const at::Tensor dropped = chosen_of(candidates, count, rows);
  const at::Tensor token_loss = at::maximum(plain, clipped);
  LossResult result;
  result.loss = aggregate(at::where(dropped, at::zeros_like(token_loss), token_loss), rows.mask,
                          options.aggregate, batch);
  result.outputs = {{"clip_fraction", masked_mean(dropped, rows.mask)},
                    {"approx_kl", masked_mean(-rows.log_ratio(), rows.mask)}};
  return result;
}

struct ClipCov final : LossNode {
  PolicyArguments rows{this};
  Param<double> low{this, "low", 0.2, "lower clip distance", {.min = 0}};
  Param<double> high{this, "high", 0.2, "upper clip distance", {.min = 0}};
  Param<double> ratio{this,
                      "ratio",
                      0.0002,
                      "share of the tokens that may be dropped, at least one token",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> cov_low{this, "cov_low", 1.0, "dropped tokens have a covariance above this"};
  Param<double> cov_high{this, "cov_high", 5.0, "dropped tokens have a covariance below this"};
  AggregateParams aggregate{this};
  Synonyms words{this, {"Clip-Cov", "entropy collapse", "exploration", "clip"}};
  Doc doc{
      this,
      "cov = (A - mean A) (log_probs - mean log_probs) per action token, means over the step\n"
      "The token loss is that of the clipped policy gradient, but 0 for tokens that are not "
      "clipped and have cov_low < cov < cov_high: at most ratio * tokens of them, chosen by a "
      "hash of their own numbers.\n"
      "clip_fraction: share of tokens so dropped; approx_kl: mean of old_log_probs - log_probs. "
      "The means are over the whole step: it must be one micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return clip_cov_loss(batch, {low(), high(), ratio(), cov_low(), cov_high(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ClipCov, "Clipped policy gradient without high-covariance tokens (Clip-Cov)",
                "arXiv:2505.22617")
