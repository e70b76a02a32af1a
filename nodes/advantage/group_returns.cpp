#include "nodes/advantage/group_returns.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/finite_tokens.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/returns.h"
#include "nodes/advantage/token_rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Sum and count of returns.
struct ReturnMean {
  double sum = 0;
  double count = 0;
};

/// Calls f(column, step) for the tokens of a row that are in a step.
template <class F>
void for_steps(const bool* mask, const std::int64_t* index, std::int64_t tokens, F f) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    if (!mask[t]) continue;
    if (index[t] >= 0) f(t, static_cast<std::size_t>(index[t]));
  }
}

/// Rewards of whole answers: a token's return minus the group's mean answer, in one pass from the
/// end. An answer without tokens counts for nothing; where fewer than two have any, all is 0.
template <class T>
at::Tensor above_mean_answer(const at::Tensor& rewards, const at::Tensor& mask,
                             const Groups& groups) {
  at::Tensor out = at::zeros_like(rewards);
  const std::int64_t tokens = rewards.size(1);
  for (std::size_t g = 0; g < groups.count(); ++g) {
    ReturnMean mean;
    for (const std::int64_t row : groups.rows(g)) {
      const bool* const m = row_of<const bool>(mask, row);
      const T* const r = row_of<const T>(rewards, row);
      if (count_tokens(m, tokens) == 0) continue;
      mean.sum += masked_sum(m, tokens, [r](std::int64_t t) { return static_cast<double>(r[t]); });
      mean.count += 1;
    }
    if (mean.count < 2) continue;
    const double centre = mean.sum / mean.count;
    for (const std::int64_t row : groups.rows(g)) {
      const bool* const m = row_of<const bool>(mask, row);
      const T* const r = row_of<const T>(rewards, row);
      T* const a = row_of<T>(out, row);
      double later = 0;
      for (std::int64_t t = tokens; t-- > 0;) {
        later += static_cast<double>(kept(r[t], m[t]));
        a[t] = kept(static_cast<T>(later - centre), m[t]);
      }
    }
  }
  return out;
}

}  // namespace

at::Tensor group_returns(const at::Tensor& rewards, const at::Tensor& mask, const at::Tensor& group,
                         const at::Tensor& step_index, ReturnBaseline baseline) {
  require_matrix("rewards", rewards);
  const at::Tensor where = checked_mask(mask, "rewards", rewards.sizes()).to(at::kCPU);
  const bool by_step = baseline == ReturnBaseline::same_step;
  if (by_step && !step_index.defined()) {
    throw Failure("no-steps", "nothing says which step a token is in",
                  "give step_index, or compare whole answers");
  }
  if (by_step) require_sizes("step_index", step_index, "rewards", rewards.sizes());
  if (!by_step) {
    const at::ScalarType type = working_type({rewards});
    const at::Tensor r = prepared(rewards.to(at::kCPU), type), m = where.contiguous();
    const Groups groups(group, {}, rewards.size(0));
    return (type == at::kDouble ? above_mean_answer<double>(r, m, groups)
                                : above_mean_answer<float>(r, m, groups))
        .to(rewards.device(), rewards.scalar_type());
  }
  const at::Tensor index = step_index.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor returns =
      discounted_returns(rewards.to(at::kCPU, at::kDouble).contiguous(), where, 1.0);
  at::Tensor out = at::zeros_like(returns);
  const std::int64_t tokens = returns.size(1);
  const Groups groups(group, {}, rewards.size(0));
  std::vector<ReturnMean> means;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    means.clear();
    for (const std::int64_t row : groups.rows(g)) {
      std::size_t seen = 0;  // steps of this row whose beginning was counted
      for_steps(row_of<const bool>(where, row), row_of<const std::int64_t>(index, row), tokens,
                [&](std::int64_t t, std::size_t s) {
                  if (s < seen) return;
                  seen = s + 1;
                  means.resize(std::max(means.size(), seen));
                  means[s].sum += row_of<const double>(returns, row)[t];
                  means[s].count += 1;
                });
    }
    for (const std::int64_t row : groups.rows(g)) {
      for_steps(row_of<const bool>(where, row), row_of<const std::int64_t>(index, row), tokens,
                [&](std::int64_t t, std::size_t s) {
                  if (means[s].count < 2) return;
                  row_of<double>(out, row)[t] =
                      row_of<const double>(returns, row)[t] - means[s].sum / means[s].count;
                });
    }
  }
  return out.to(rewards.device(), rewards.scalar_type());
}

struct GroupReturns final : Node {
  Input<TokenRewards> token_rewards{
      this, "token_rewards", "with mask and group ids", {.needs = {{"group_size", {{"min", 2}}}}}};
  Input<Completions> completions{this, "completions", "the rows they belong to"};
  Optional<Values> step_index{
      this, "step_index", "which step each token is in, for same_step", {.dims = "N,T"}};
  Output<Advantages> advantages{this, "advantages", "one per token", {.dims = "N,T"}};
  Param<ReturnBaseline> baseline{this, "baseline", ReturnBaseline::same_step,
                                 "what a return is compared with"};
  Rule has_steps{this,
                 {{{"baseline", "same_step"}},
                  {{"step_index", {{"connected", true}}}},
                  "nothing says which step a token is in",
                  "connect step_index, or set baseline to whole"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"GRPO", "reward to go", "process reward", "group baseline", "critic-free"}};
  Doc doc{this,
          "A_t = sum of rewards from token t on (undiscounted) - the group's mean, in place of a "
          "critic; not divided by any spread, so that a KL term keeps its weight. Tokens of a step "
          "that no other answer of the group has get 0."};

  void run(Step& step) const override {
    const TokenRewards& r = step[token_rewards];
    const Completions& c = step[completions];
    require_same_rows("token_rewards", r.rewards.size(0), r.batch, "completions", c.rows(),
                      c.batch);
    const Values* const steps = step[step_index];
    if (steps == nullptr && baseline() == ReturnBaseline::same_step) {
      step.fail("nothing says which step a token is in",
                "connect step_index, or set baseline to whole");
    }
    const at::Tensor& group = r.group.defined() ? r.group : c.group;
    const at::Tensor mask = needed_mask(r.mask, &c);
    at::Tensor above = group_returns(r.rewards, mask, group,
                                     steps != nullptr ? steps->values : at::Tensor(), baseline());
    require_finite_tokens(above, {{"token_rewards", r.rewards, mask}});
    step[advantages] = advantages_of(std::move(above), r);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GroupReturns, "Returns against the group's mean", "arXiv:2410.15115")
