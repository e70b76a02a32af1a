#include "nodes/advantage/remax.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <unordered_map>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

template <class T>
AdvantagesAndReturns remax_of_rows(const at::Tensor& rewards, const at::Tensor& mask,
                                   const at::Tensor& baseline, const ParallelCalls& parallel) {
  const AdvantagesAndReturns out{at::empty_like(rewards), at::empty_like(rewards)};
  const double* const base = baseline.data_ptr<double>();
  const std::int64_t tokens = rewards.size(1);
  for_rows(rewards.size(0), tokens, parallel, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t row = first; row < last; ++row) {
      const T* const r = row_of<const T>(rewards, row);
      const bool* const m = row_of<const bool>(mask, row);
      T* const a = row_of<T>(out.advantages, row);
      T* const g = row_of<T>(out.returns, row);
      const double greedy = base[row];
      double later = 0;
      for (std::int64_t t = tokens; t-- > 0;) {
        const bool in = m[t];
        later += static_cast<double>(kept(r[t], in));
        g[t] = kept(static_cast<T>(later), in);
        a[t] = kept(static_cast<T>(later - greedy), in);
      }
    }
  });
  return out;
}

}  // namespace

AdvantagesAndReturns remax(const at::Tensor& rewards, const at::Tensor& mask,
                           const at::Tensor& baseline, const ParallelCalls& parallel) {
  if (!rewards.is_cpu()) return remax_by_scan(rewards, mask, baseline);
  require_matrix("rewards", rewards);
  require_vector("baselines", baseline, rewards.size(0));
  const at::Tensor where = checked_mask(mask, "rewards", rewards.sizes());
  const at::ScalarType type = working_type({rewards});
  const at::Tensor r = prepared(rewards, type);
  const at::Tensor b = prepared(baseline, at::kDouble);
  const AdvantagesAndReturns out = type == at::kDouble
                                       ? remax_of_rows<double>(r, where, b, parallel)
                                       : remax_of_rows<float>(r, where, b, parallel);
  const at::ScalarType given = rewards.scalar_type();
  return {out.advantages.to(given), out.returns.to(given)};
}

AdvantagesAndReturns remax_by_scan(const at::Tensor& rewards, const at::Tensor& mask,
                                   const at::Tensor& baseline) {
  require_vector("baselines", baseline, rewards.size(0));
  const at::Tensor returns = discounted_returns_by_scan(rewards.to(at::kDouble), mask, 1.0);
  const at::Tensor above = returns - baseline.to(at::kDouble).unsqueeze(1);
  const at::Tensor outside = mask.to(at::kBool).logical_not();
  const at::ScalarType type = rewards.scalar_type();
  return {above.masked_fill(outside, 0).to(type), returns.to(type)};
}

at::Tensor baseline_of_rows(const at::Tensor& baseline, const at::Tensor& baseline_group,
                            const at::Tensor& group, std::int64_t rows) {
  if (baseline.dim() == 1 && baseline.size(0) == rows) return baseline;
  if (!baseline_group.defined() || !group.defined() || baseline.dim() != 1) {
    throw Failure("bad-shape",
                  c10::str("baselines are ", baseline.sizes(), ", but there are ", rows, " rows"),
                  "give one per row, or rewards with group ids on both sides");
  }
  require_vector("groups of the baselines", baseline_group, baseline.size(0));
  require_vector("groups", group, rows);
  const at::Tensor keys = baseline_group.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor wanted = group.to(at::kCPU, at::kLong).contiguous();
  std::unordered_map<std::int64_t, std::int64_t> place;
  for (std::int64_t i = 0; i < keys.numel(); ++i) {
    if (place.try_emplace(keys.data_ptr<std::int64_t>()[i], i).second) continue;
    throw Failure("twice",
                  fmt::format("group {} has two baselines", keys.data_ptr<std::int64_t>()[i]),
                  "sample one greedy completion per prompt");
  }
  at::Tensor index = at::empty({rows}, at::dtype(at::kLong));
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t id = wanted.data_ptr<std::int64_t>()[row];
    const auto found = place.find(id);
    if (found == place.end()) {
      throw Failure("no-baseline", fmt::format("group {} of row {} has no baseline", id, row),
                    "sample a greedy completion for every prompt");
    }
    index.data_ptr<std::int64_t>()[row] = found->second;
  }
  return baseline.index_select(0, index.to(baseline.device()));
}

struct Remax final : Node {
  Input<TokenRewards> rewards{this, "rewards", "one reward per token"};
  Input<Rewards> baseline{this, "baseline",
                          "the reward of a greedy completion, per row or per group"};
  Optional<Completions> completions{this, "completions", "the mask, where rewards carry none"};
  Output<Advantages> advantages{
      this, "advantages", "return - baseline, 0 outside the mask", {.dims = "N,T"}};
  Output<Returns> returns{
      this, "returns", "sum of what follows, 0 outside the mask", {.dims = "N,T"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"ReMax", "greedy baseline", "self-critical"}};
  Doc doc{
      this,
      "A_t = sum of the rewards from t on - reward of the greedy completion of the same prompt; "
      "[N,T]. Where the baseline has fewer rows, its group ids say whose it is.\n"
      "A row whose baseline is absent gets 0."};

  void run(Step& step) const override {
    const TokenRewards& r = step[rewards];
    const Rewards& b = step[baseline];
    const Completions* const c = step[completions];
    const std::int64_t rows = r.rewards.size(0);
    if (c != nullptr) {
      require_same_rows("rewards", rows, r.batch, "completions", c->rows(), c->batch);
    }
    const at::Tensor group = r.group.defined() ? r.group : c != nullptr ? c->group : r.group;
    const auto per_row = [&](const at::Tensor& x) {
      return baseline_of_rows(x, b.group, group, rows);
    };
    const at::Tensor mask = needed_mask(r.mask, c);
    AdvantagesAndReturns out = remax(r.rewards, mask, per_row(b.total), calls_of(step));
    require_finite_tokens(row_starts(out.returns, mask), {{"rewards", r.rewards, mask}});
    finite_rows(b.total, b.absent, "the baseline");
    if (b.absent.defined()) {
      out.advantages = out.advantages.masked_fill(per_row(b.absent).unsqueeze(1), 0);
    }
    step[advantages] = advantages_of(out.advantages, r);
    step[returns] = Returns{out.returns, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Remax, "ReMax", "arXiv:2310.10505")
