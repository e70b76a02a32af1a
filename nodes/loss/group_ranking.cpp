#include "nodes/loss/group_ranking.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/loss/known_derivative.h"
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

/// What one group adds: its loss, written beside it the derivative by each score, best reward
/// first. A tail is what stands from some row on; sums over a tail come from those of the next one,
/// so that a group takes time in its size, not in its square.
class GroupOfRows {
 public:
  GroupOfRows(std::vector<double> scores, const std::vector<double>& rewards,
              const GroupRankingOptions& options)
      : s_(std::move(scores)), f_(s_.size()), log_sum_(s_.size()), weight_(s_.size()) {
    const std::size_t size = s_.size();
    tails_ = options.form == RankingForm::top1 ? 1 : std::max<std::size_t>(size - 1, 1);
    for (std::size_t i = size; i-- > 0;) {
      const bool last = i + 1 == size;
      const double drop = last ? 0 : rewards[i + 1] - rewards[i];
      f_[i] = drop == 0 ? 1 : (options.tau > 0 ? std::exp(drop / options.tau) : 0);
      log_sum_[i] = last ? s_[i] : log_of_sum(s_[i], log_sum_[i + 1]);
      weight_[i] = last ? 1 : 1 + f_[i] * weight_[i + 1];
    }
  }

  /// Sum over tails of logsumexp(s_tail) - sum q s_tail.
  double loss() const {
    double sum = 0, target = 0;
    for (std::size_t i = s_.size(); i-- > 0;) {
      const bool alone = i + 1 == s_.size() || f_[i] == 0;  // in its target: not 0 times infinity
      target = alone ? s_[i] : s_[i] + f_[i] * target;
      if (i < tails_) sum += log_sum_[i] - target / weight_[i];
    }
    return sum;
  }

  /// Of the loss by each score: sum over the tails that hold it of softmax(s_tail) - q.
  std::vector<double> derivative() const {
    std::vector<double> out(s_.size());
    double soft = 0, target = 0;  // in units of e^-log_sum, and of the row's share of a target
    for (std::size_t j = 0; j < s_.size(); ++j) {
      const bool heads_tail = j < tails_;
      const double before = j == 0 ? 0 : soft * ratio(log_sum_[j], log_sum_[j - 1]);
      soft = before + (heads_tail ? 1 : 0);
      target = (j == 0 ? 0 : target * f_[j - 1]) + (heads_tail ? 1 / weight_[j] : 0);
      out[j] = ratio(s_[j], log_sum_[j]) * soft - target;
    }
    return out;
  }

  bool best_is_first() const {
    return std::all_of(s_.begin(), s_.end(), [&](double s) { return s <= s_.front(); });
  }

 private:
  // Both also where a and b are the same infinity: a score may be that of an impossible answer.
  static double log_of_sum(double a, double b) {
    if (a == b) return a + std::numbers::ln2;
    return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
  }
  static double ratio(double a, double b) { return a == b ? 1 : std::exp(a - b); }

  std::vector<double> s_;
  std::vector<double> f_;        ///< e^((reward of the next row - its reward) / tau)
  std::vector<double> log_sum_;  ///< of the tail from a row on
  std::vector<double> weight_;   ///< sum of f's products over that tail
  std::size_t tails_ = 1;
};

}  // namespace

LossResult group_ranking_loss(const LossBatch& batch, const GroupRankingOptions& options) {
  const at::Tensor scores = row_argument(batch, "scores");
  const at::Tensor rewards = argument_like(batch, "rewards", scores, "scores").detach();
  const Groups groups(argument_like(batch, "group", scores, "scores"), {}, scores.size(0));
  if (!batch.total_weight) {
    require_whole_step(batch.total_sequences, static_cast<double>(scores.size(0)),
                       "divides by the groups of all rows of a step");
  }
  const std::vector<double> reward_of = finite_rows(rewards, {}, "the reward");
  const at::Tensor host = scores.detach().to(at::kCPU, at::kDouble).contiguous();
  const double* const score_of = host.data_ptr<double>();
  at::Tensor derivative = at::zeros_like(host);
  double sum = 0, right = 0;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const std::vector<std::int64_t> order = by_reward(groups.rows(g), reward_of);
    std::vector<double> s, r;
    for (const std::int64_t row : order) {
      s.push_back(score_of[row]);
      r.push_back(reward_of[static_cast<std::size_t>(row)]);
    }
    const GroupOfRows group(std::move(s), r, options);
    sum += group.loss();
    right += group.best_is_first() ? 1 : 0;
    const std::vector<double> slopes = group.derivative();
    for (std::size_t i = 0; i < order.size(); ++i) {
      derivative.data_ptr<double>()[order[i]] = slopes[i];
    }
  }
  const double here = std::max<double>(1, static_cast<double>(groups.count()));
  const auto number = [&](double x) { return at::full({}, x, scores.detach().options()); };
  const at::Tensor loss = with_derivative(number(sum), scores, derivative.to(scores.options()));
  return {loss / batch.total_weight.value_or(here), {{"accuracy", number(right / here)}}};
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
