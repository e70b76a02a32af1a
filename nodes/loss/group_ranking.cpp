#include "nodes/loss/group_ranking.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/loss/row_terms.h"

namespace rewardloom {
namespace {

/// Rows of a group, best reward first; equal rewards keep their order.
std::vector<std::int64_t> by_reward(std::span<const std::int64_t> rows,
                                    const std::vector<double>& rewards) {
  std::vector<std::int64_t> order(rows.begin(), rows.end());
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rewards[static_cast<std::size_t>(a)] > rewards[static_cast<std::size_t>(b)];
  });
  return order;
}

/// Targets of each tail: rewards [B,k], best first, tails [m,k] bool -> [B,m,k], rows sum to 1.
at::Tensor targets_of(const at::Tensor& rewards, const at::Tensor& tails, double tau) {
  const at::Tensor impossible = at::full({}, -HUGE_VAL, rewards.options());
  const at::Tensor of_tail = at::where(tails, rewards.unsqueeze(1), impossible);
  if (tau > 0) return (of_tail / tau).softmax(-1);
  const at::Tensor best = of_tail.eq(std::get<0>(of_tail.max(-1, true))).to(rewards.scalar_type());
  return best / best.sum(-1, true);
}

/// Sum of the losses of groups of one size: scores, rewards [B,k], best reward first -> [].
at::Tensor summed_loss(const at::Tensor& scores, const at::Tensor& rewards,
                       const GroupRankingOptions& options) {
  const std::int64_t size = scores.size(1);
  const std::int64_t count =
      options.form == RankingForm::top1 ? 1 : std::max<std::int64_t>(size - 1, 1);
  const at::Tensor tails = at::ones({count, size}, rewards.options().dtype(at::kBool)).triu();
  const at::Tensor target = targets_of(rewards, tails, options.tau);
  const at::Tensor impossible = at::full({}, -HUGE_VAL, rewards.options());
  const at::Tensor all = at::where(tails, scores.unsqueeze(1), impossible).logsumexp(-1);
  return (all - (target * scores.unsqueeze(1)).sum(-1)).sum();
}

}  // namespace

LossResult group_ranking_loss(const LossBatch& batch, const GroupRankingOptions& options) {
  const at::Tensor scores = row_argument(batch, "scores");
  const at::Tensor rewards =
      argument_like(batch, "rewards", scores, "scores").detach().to(scores.scalar_type());
  const Groups groups(argument_like(batch, "group", scores, "scores"), {}, scores.size(0));
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(scores.size(0)),
                       "divides by the groups of all rows of a step");
  }
  const std::vector<double> numbers = finite_rows(rewards, {}, "the reward");
  at::Tensor sum = at::zeros({}, scores.options());
  at::Tensor right = at::zeros({}, scores.detach().options());
  std::map<std::size_t, std::vector<std::int64_t>> rows_of_size;  // group behind group
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const std::vector<std::int64_t> order = by_reward(groups.rows(g), numbers);
    auto& rows = rows_of_size[order.size()];
    rows.insert(rows.end(), order.begin(), order.end());
  }
  for (const auto& [size, rows] : rows_of_size) {
    const at::Tensor order = at::tensor(rows, at::kLong).to(scores.device());
    const std::vector<std::int64_t> shape{-1, static_cast<std::int64_t>(size)};
    const at::Tensor s = scores.index_select(0, order).view(shape);
    sum = sum + summed_loss(s, rewards.index_select(0, order).view(shape), options);
    right = right + s.detach().argmax(1).eq(0).sum();
  }
  const double here = std::max<double>(1, static_cast<double>(groups.count()));
  LossResult result;
  result.loss = sum / batch.total_weight.value_or(here);
  result.outputs = {{"accuracy", right / here}};
  return result;
}

struct GroupRanking final : LossNode {
  Argument scores{this, "scores", "N", "implicit rewards", {.differentiable = true}};
  Argument rewards = Argument::with_port<Rewards>(this, "rewards", "N", "what ranks the group");
  Argument group{this, "group", "N", "rows that are compared with each other"};
  Param<RankingForm> form{this, "form", RankingForm::full, "what of the ranking is learnt"};
  Param<double> tau{
      this, "tau", 0.05, "softmax temperature of the targets; 0: the best alone", {.min = 0}};
  Synonyms words{this, {"GDRO", "Plackett-Luce", "listwise", "ranking loss"}};
  Doc doc{this,
          "A group of k rows sorted by reward, best first; full: sum over its tails i = 1..k-1 of "
          "logsumexp(s_tail) - sum q s_tail, q = softmax(rewards_tail / tau); top1: the first tail "
          "alone. loss = mean over groups.\n"
          "accuracy: share of groups whose best reward has the best score. Micro-batches must hold "
          "whole groups and need total_weight, the step's number of groups."};

  LossResult evaluate(const LossBatch& batch) const override {
    return group_ranking_loss(batch, {form(), tau()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GroupRanking, "Group ranking (GDRO)", "arXiv:2601.02036")
