#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/loss/covariance.h"
#include "nodes/loss/log_space.h"
#include "nodes/loss/row_terms.h"
#include "nodes/loss/token_kernels.h"

namespace rewardloom {
namespace {

/// The `share` of the tokens (at least one) with the largest covariance, [N,T] bool.
at::Tensor largest_covariance(const PolicyRows& rows, double share) {
  const std::int64_t tokens = rows.mask.sum().item().toLong();
  if (tokens == 0) return rows.mask;
  const auto count =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(share * static_cast<double>(tokens)));
  const at::Tensor covariance =
      token_covariance(rows).masked_fill(rows.mask.logical_not(), -HUGE_VAL).reshape(-1);
  const at::Tensor largest = std::get<1>(covariance.topk(count));
  return at::zeros_like(rows.mask).reshape(-1).index_fill(0, largest, 1).reshape(rows.mask.sizes());
}

/// Places of the `count` largest numbers; of equal ones the first.
std::vector<std::int64_t> largest_places(const at::Tensor& numbers, std::int64_t count) {
  using Entry = std::pair<float, std::int64_t>;
  const auto ahead = [](const Entry& a, const Entry& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
  };
  std::vector<Entry> best;  // a heap: the least of the best is at its front
  const float* const number = numbers.data_ptr<float>();
  for (std::int64_t i = 0; i < numbers.numel(); ++i) {
    const bool full = static_cast<std::int64_t>(best.size()) == count;
    if (full && number[i] <= best.front().first) continue;
    // What is no number is larger than all others, as for at::topk.
    const float x = std::isnan(number[i]) ? HUGE_VALF : number[i];
    if (full && x <= best.front().first) continue;
    if (full) {
      std::pop_heap(best.begin(), best.end(), ahead);
      best.pop_back();
    }
    best.emplace_back(x, i);
    std::push_heap(best.begin(), best.end(), ahead);
  }
  std::vector<std::int64_t> places;
  for (const Entry& entry : best) places.push_back(entry.second);
  return places;
}

LossResult in_one_pass_with_penalty(const LossBatch& batch, const PolicyRows& rows,
                                    const KlCovOptions& options) {
  const TokenPass pass = covariance_pass(rows.mask, rows.log_probs, rows.old_log_probs,
                                         rows.advantages, HUGE_VAL, HUGE_VAL);
  const double tokens = token_count(rows.mask).item<double>();
  std::vector<std::int64_t> penalised;
  if (tokens > 0) {
    penalised = largest_places(
        pass.covariance,
        std::max<std::int64_t>(1, static_cast<std::int64_t>(options.ratio * tokens)));
  }
  const at::Tensor x = rows.log_probs.detach().contiguous(), old = rows.old_log_probs.contiguous();
  const auto factor = static_cast<float>(options.coefficient);
  for (const std::int64_t place : penalised) {
    const float log_ratio = x.data_ptr<float>()[place] - old.data_ptr<float>()[place];
    pass.value.data_ptr<float>()[place] += factor * std::abs(log_ratio);
    pass.derivative.data_ptr<float>()[place] +=
        factor * static_cast<float>((log_ratio > 0) - (log_ratio < 0));
  }
  LossResult result;
  result.loss =
      aggregate_masked(differentiable(rows.log_probs, pass), rows.mask, options.aggregate, batch);
  const double share = static_cast<double>(penalised.size()) / std::max(1.0, tokens);
  result.outputs = {{"penalised", at::full({}, share)}, {"approx_kl", at::full({}, pass.means[2])}};
  return result;
}

}  // namespace

LossResult kl_cov_loss(const LossBatch& batch, const KlCovOptions& options) {
  const PolicyRows raw = unmasked_policy_rows(batch);
  require_whole_step(batch, raw.mask, "compares all tokens of a step");
  if (fits_token_pass(raw.mask, {raw.log_probs, raw.old_log_probs, raw.advantages})) {
    return in_one_pass_with_penalty(batch, raw, options);
  }
  const PolicyRows rows = policy_rows(batch);
  const at::Tensor log_ratio = rows.log_ratio();
  const at::Tensor penalised = largest_covariance(rows, options.ratio);
  const at::Tensor penalty =
      at::where(penalised, options.coefficient * log_ratio.abs(), at::zeros_like(log_ratio));
  LossResult result;
  result.loss = aggregate(-rows.advantages * bounded_exp(log_ratio) + penalty, rows.mask,
                          options.aggregate, batch);
  result.outputs = {{"penalised", masked_mean(penalised, rows.mask)},
                    {"approx_kl", masked_mean(-log_ratio, rows.mask)}};
  return result;
}

struct KlCov final : LossNode {
  PolicyArguments rows{this};
  Param<double> ratio{this,
                      "ratio",
                      0.0002,
                      "share of the tokens that are penalised, at least one token",
                      {.min = 0, .max = 1, .exclusive_min = true}};
  Param<double> coefficient{this, "coefficient", 1.0, "factor of the penalty", {.min = 0}};
  AggregateParams aggregate{this};
  Synonyms words{this, {"KL-Cov", "entropy collapse", "exploration"}};
  Doc doc{this,
          "cov = (A - mean A) (log_probs - mean log_probs) per action token, means over the step\n"
          "token loss = -A exp(log_probs - old_log_probs), + coefficient |log_probs - "
          "old_log_probs| for the tokens of largest cov.\n"
          "penalised: their share. The means are over the whole step: it must be one "
          "micro-batch."};

  LossResult evaluate(const LossBatch& batch) const override {
    return kl_cov_loss(batch, {ratio(), coefficient(), aggregate()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(KlCov, "Policy gradient with a KL penalty on high-covariance tokens (KL-Cov)",
                "arXiv:2505.22617")
