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

/// Rows of a group, best reward first.
std::vector<std::int64_t> by_reward(std::span<const std::int64_t> rows,
                                    const std::vector<double>& rewards) {
  std::vector<std::int64_t> order(rows.begin(), rows.end());
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return rewards[static_cast<std::size_t>(a)] > rewards[static_cast<std::size_t>(b)];
  });
  return order;
}

/// What one group adds: its loss, and beside it the derivative by each score, best reward first. A
/// tail is what stands from some row on; sums over a tail come from those of the rows behind it, so
/// that a group takes time in its size, not in its square. Rows of equal reward are a block: the
/// l-th of the d tails that begin in it holds the share (d - l) / d of each of its rows.
class GroupOfRows {
 public:
  GroupOfRows(std::vector<double> scores, const std::vector<double>& rewards,
              const GroupRankingOptions& options)
      : s_(std::move(scores)), log_sum_(s_.size()), weight_(s_.size()), target_(s_.size()) {
    const std::size_t size = s_.size();
    tails_ = options.form == RankingForm::top1 ? 1 : std::max<std::size_t>(size - 1, 1);
    for (std::size_t i = 0; i < size; ++i) {
      if (i == 0 || rewards[i] != rewards[i - 1]) blocks_.push_back({i, i});
      blocks_.back().end = i + 1;
    }
    for (std::size_t b = blocks_.size(); b-- > 0;) {
      const bool last = b + 1 == blocks_.size();
      const double drop = last ? 0 : rewards[blocks_[b].end] - rewards[blocks_[b].begin];
      blocks_[b].f = last || options.tau == 0 ? 0 : std::exp(drop / options.tau);
      set_tails(blocks_[b]);
    }
  }

  /// Sum over tails of logsumexp(s_tail) - sum q s_tail.
  double loss() const {
    double sum = 0;
    for (std::size_t i = 0; i < tails_; ++i) sum += log_sum_[i] - target_[i] / weight_[i];
    return sum;
  }

  /// Of the loss by each score: sum over the tails that hold it of softmax(s_tail) - q.
  std::vector<double> derivative() const {
    std::vector<double> out(s_.size());
    double soft = 0, target = 0;  // of the tails before: in units of e^-log_sum, of a row's share
    double unit = 0;
    for (const Block& block : blocks_) {
      const double here = log_sum_[block.begin];
      double own = block.begin == 0 ? 0 : soft * ratio(here, unit), own_target = target;
      soft = own;
      for (std::size_t i = block.begin; i < std::min(block.end, tails_); ++i) {
        const double kept = block.kept(i);
        own += kept * ratio(here, log_sum_[i]);
        own_target += kept / weight_[i];
        soft += ratio(here, log_sum_[i]);
        target += 1 / weight_[i];
      }
      for (std::size_t j = block.begin; j < block.end; ++j) {
        out[j] = ratio(s_[j], here) * own - own_target;
      }
      unit = here;
      target *= block.f;
    }
    return out;
  }

  /// Whether a row of the best reward has the best score.
  bool best_is_first() const {
    const double best = *std::max_element(s_.begin(), s_.begin() + end_of_first());
    return std::all_of(s_.begin(), s_.end(), [&](double s) { return s <= best; });
  }

 private:
  struct Block {
    std::size_t begin, end;
    double f = 0;  ///< e^((reward of the next block - its reward) / tau)
    double size() const { return static_cast<double>(end - begin); }
    /// What the tail from row i on holds of each of its rows.
    double kept(std::size_t i) const { return static_cast<double>(end - i) / size(); }
  };

  std::ptrdiff_t end_of_first() const { return static_cast<std::ptrdiff_t>(blocks_.front().end); }

  void set_tails(const Block& block) {
    double own = s_[block.begin], sum = own;
    for (std::size_t j = block.begin + 1; j < block.end; ++j) {
      own = log_of_sum(own, s_[j]);
      sum += s_[j];
    }
    const bool alone = block.f == 0;  // in its target: not 0 times infinity
    for (std::size_t i = block.begin; i < block.end; ++i) {
      const double kept = block.kept(i), part = kept == 1 ? own : own + std::log(kept);
      const bool last = block.end == s_.size();
      log_sum_[i] = last ? part : log_of_sum(part, log_sum_[block.end]);
      weight_[i] = kept * block.size() + (alone ? 0 : block.f * weight_[block.end]);
      target_[i] = kept * sum + (alone ? 0 : block.f * target_[block.end]);
    }
  }

  // Both also where a and b are the same infinity: a score may be that of an impossible answer.
  static double log_of_sum(double a, double b) {
    if (a == b) return a + std::numbers::ln2;
    return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
  }
  static double ratio(double a, double b) { return a == b ? 1 : std::exp(a - b); }

  std::vector<double> s_;
  std::vector<Block> blocks_;
  std::vector<double> log_sum_;  ///< of the tail from a row on
  std::vector<double> weight_;   ///< sum over that tail of e^((reward - that of its best) / tau)
  std::vector<double> target_;   ///< the same of the scores
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
          "Equal rewards: of d rows with one reward, the l-th tail that begins among them (l = 0, "
          "1, ...) holds the share (d - l) / d of each, in the sum under the logarithm as in q. "
          "This is the mean over the orders of these rows, taken inside the logarithm (Efron's "
          "rule for ties), and no order of rows matters.\n"
          "accuracy: share of groups in which a row of the best reward has the best score. "
          "Micro-batches must hold whole groups and need total_weight, the step's number of "
          "groups."};

  LossResult evaluate(const LossBatch& batch) const override {
    return group_ranking_loss(batch, {form(), tau()});
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GroupRanking, "Group ranking (GDRO)", "arXiv:2601.02036")
