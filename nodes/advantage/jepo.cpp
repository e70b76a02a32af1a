#include "nodes/advantage/jepo.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/group.h"
#include "nodes/advantage/rows.h"

namespace rewardloom {
namespace {

/// Exponentials of a group's rewards relative to the largest, and for each member the log of the
/// sum of exp over all others. Sums of positive numbers only: nothing cancels.
class LogSums {
 public:
  LogSums(const std::vector<double>& reward, std::span<const std::int64_t> rows)
      : scaled(rows.size()), others(rows.size()) {
    const auto value = [&](std::size_t k) { return reward[static_cast<std::size_t>(rows[k])]; };
    std::size_t best = 0;
    for (std::size_t k = 1; k < rows.size(); ++k) best = value(k) > value(best) ? k : best;
    const double high = value(best);
    double before = 0;
    for (std::size_t k = 0; k < rows.size(); ++k) {
      scaled[k] = std::exp(value(k) - high);
      others[k] = before;
      before += scaled[k];
    }
    sum = before;
    all = high + std::log(sum);
    double after = 0;
    for (std::size_t k = rows.size(); k-- > 0;) {
      const double rest = others[k] + after;
      others[k] = rest > kSmallest ? high + std::log(rest) : far_below(value, k, rows.size());
      after += scaled[k];
    }
  }

  std::vector<double> scaled;
  std::vector<double> others;
  double sum = 0;
  double all = 0;

 private:
  static constexpr double kSmallest = 1e-280;  // below it exponentials lose their digits

  /// The same for the one member that is far above all others.
  template <class F>
  static double far_below(F value, std::size_t left_out, std::size_t count) {
    double high = -std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < count; ++k) {
      if (k != left_out) high = std::max(high, value(k));
    }
    double rest = 0;
    for (std::size_t k = 0; k < count; ++k) {
      if (k != left_out) rest += std::exp(value(k) - high);
    }
    return high + std::log(rest);
  }
};

}  // namespace

JepoAdvantages jepo_advantages(const at::Tensor& rewards, const at::Tensor& group,
                               const at::Tensor& absent) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the log-likelihood");
  const Groups groups(group, absent, rewards.size(0));
  std::vector<double> weight(reward.size(), 0.0);
  const auto one = [&](std::span<const std::int64_t> rows, std::vector<double>& advantage) {
    const auto count = static_cast<double>(rows.size());
    if (Moments(reward, rows).constant) {
      for (const std::int64_t row : rows) weight[static_cast<std::size_t>(row)] = 1 / count;
      return;
    }
    const LogSums sums(reward, rows);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const auto i = static_cast<std::size_t>(rows[k]);
      weight[i] = sums.scaled[k] / sums.sum;
      advantage[i] = sums.all - std::log(count) - (sums.others[k] - std::log(count - 1));
    }
  };
  const std::vector<double> advantage = by_group(reward, groups, one);
  return {like_rewards(advantage, rewards), like_rewards(weight, rewards)};
}

struct Jepo final : Node {
  Input<Rewards> rewards{this,
                         "rewards",
                         "log-likelihood of the reference answer after each chain of thought",
                         {.needs = {{"group_size", {{"min", 2}}}}}};
  Output<Advantages> advantages{this, "advantages", "one advantage per completion"};
  Output<Values> answer_weights{
      this, "answer_weights", "weight of each row's answer in the likelihood term", {.dims = "N"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"JEPO", "log-mean-exp", "likelihood rewards", "multi-sample bound"}};
  Doc doc{this,
          "A_i = log mean_j exp r_j - log mean_{j != i} exp r_j over i's group; answer_weights = "
          "softmax of r inside the group; [N] -> [N].\n"
          "Computed in logs: rewards of -800 are fine. Absent rows enter nothing and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const JepoAdvantages out = jepo_advantages(r.total, r.group, r.absent);
    step[advantages] = Advantages{out.advantages, r};
    step[answer_weights] = Values{out.answer_weights, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Jepo, "Likelihood bound advantage (JEPO)", "arXiv:2503.19618")
