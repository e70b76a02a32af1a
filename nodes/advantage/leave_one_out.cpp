#include "nodes/advantage/leave_one_out.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"

namespace rewardloom {
namespace {

/// Moments that can be merged (Chan, Golub, LeVeque 1979); equal values leave exactly no spread.
struct Running {
  double count = 0;
  double mean = 0;
  double squares = 0;
};

/// Merging divides by small counts only: their reciprocals are looked up.
class Merger {
 public:
  explicit Merger(std::size_t most) : reciprocal_(most + 1) {
    for (std::size_t n = 1; n <= most; ++n) reciprocal_[n] = 1 / static_cast<double>(n);
  }
  Running merged(const Running& a, const Running& b) const {
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    const double both = a.count + b.count;
    const double share = b.count * reciprocal_[static_cast<std::size_t>(both)];
    const double distance = b.mean - a.mean;
    return {both, a.mean + distance * share,
            a.squares + b.squares + distance * distance * a.count * share};
  }
  /// For each member of a group the moments of all others.
  void others(const std::vector<double>& reward, std::span<const std::int64_t> rows,
              std::vector<Running>& out) const {
    out.resize(rows.size());
    Running before, after;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      out[i] = before;
      before = merged(before, {1, reward[static_cast<std::size_t>(rows[i])], 0});
    }
    for (std::size_t i = rows.size(); i-- > 0;) {
      out[i] = merged(out[i], after);
      after = merged(after, {1, reward[static_cast<std::size_t>(rows[i])], 0});
    }
  }

 private:
  std::vector<double> reciprocal_;
};

std::size_t largest(const Groups& groups) {
  std::size_t most = 0;
  for (std::size_t g = 0; g < groups.count(); ++g) most = std::max(most, groups.rows(g).size());
  return most;
}

}  // namespace

LeaveOneOutAdvantages leave_one_out_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                               const at::Tensor& absent,
                                               const LeaveOneOutOptions& options) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  std::vector<double> advantage(reward.size(), 0.0);
  std::vector<double> baseline(reward.size(), 0.0);
  std::vector<double> spread(reward.size(), 0.0);
  const Merger merger(largest(groups));
  std::vector<Running> others;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    merger.others(reward, rows, others);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto row = static_cast<std::size_t>(rows[i]);
      if (rows.size() == 1) {
        if (options.singleton == Singleton::raw) advantage[row] = reward[row];
        baseline[row] = reward[row] - advantage[row];
        continue;
      }
      baseline[row] = others[i].mean;
      if (others[i].count > 1) {
        spread[row] = std::sqrt(others[i].squares / (others[i].count - 1));
      }
      advantage[row] = reward[row] - baseline[row];
      if (options.scale == LeaveOneOutScale::leave_one_out_std) {
        const double divisor = spread[row] + options.epsilon;
        advantage[row] = divisor == 0 ? 0 : advantage[row] / divisor;
      }
    }
  }
  return {like_rewards(advantage, rewards), like_rewards(baseline, rewards),
          like_rewards(spread, rewards)};
}

struct LeaveOneOut final : Node {
  Input<Rewards> rewards{this,
                         "rewards",
                         "one reward per completion, with group ids",
                         {.needs = {{"group_size", {{"min", 2}}}}}};
  Output<Advantages> advantages{this, "advantages", "one advantage per completion"};
  Output<Values> baseline{this, "baseline", "mean reward of the others of the group"};
  Output<Values> spread{this, "std", "sample spread of the others"};
  Param<LeaveOneOutScale> scale{this, "scale", LeaveOneOutScale::none,
                                "what divides the difference"};
  Param<double> epsilon{
      this, "epsilon", 1e-6, "added to the spread, where there is a scale", {.min = 0}};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one scored member"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"RLOO", "leave one out", "baseline"}};
  Doc doc{this,
          "A_i = r_i - mean of r_j over the other rows j of i's group; [N] -> [N].\n"
          "Absent rows are among nobody's others and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const LeaveOneOutAdvantages result =
        leave_one_out_advantages(r.total, r.group, r.absent, {scale(), epsilon(), singleton()});
    step[advantages] = Advantages{result.advantages, r};
    step[baseline] = Values{result.baseline, r.batch};
    step[spread] = Values{result.spread, r.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LeaveOneOut, "Leave-one-out advantage (RLOO)", "arXiv:2402.14740")
