#include "nodes/advantage/opo.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {

at::Tensor opo_advantages(const at::Tensor& rewards, const at::Tensor& group,
                          const at::Tensor& absent, const at::Tensor& mask, Singleton singleton) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the reward");
  const std::vector<double> length = lengths_of(row_mask(mask, reward.size()));
  const Groups groups(group, absent, rewards.size(0));
  const auto one = [&](std::span<const std::int64_t> rows, std::vector<double>& advantage) {
    if (rows.size() == 1 && singleton == Singleton::raw) {
      advantage[static_cast<std::size_t>(rows[0])] = reward[static_cast<std::size_t>(rows[0])];
      return;
    }
    const double first = reward[static_cast<std::size_t>(rows[0])];
    double tokens = 0, sum = 0;  // of distances from the first reward: equal ones leave exactly 0
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      tokens += length[i];
      sum += length[i] * (reward[i] - first);
    }
    if (tokens == 0) return;
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      advantage[i] = (reward[i] - first) - sum / tokens;
    }
  };
  return like_rewards(by_group(reward, groups, one), rewards);
}

struct Opo final : Node {
  Input<Rewards> rewards{this,
                         "rewards",
                         "one reward per completion, with group ids",
                         {.needs = {{"group_size", {{"min", 2}}}}}};
  Input<Completions> completions{this, "completions", "their lengths in action tokens"};
  Output<Advantages> advantages{this, "advantages", "one advantage per completion"};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one scored member"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"OPO", "optimal baseline", "length-weighted mean"}};
  Doc doc{this,
          "A_i = r_i - sum l_j r_j / sum l_j over the rows j of i's group, l the number of action "
          "tokens; [N] -> [N]. Absent rows enter nothing and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const Completions& c = step[completions];
    require_same_rows("rewards", r.total.size(0), r.batch, "completions", c.rows(), c.batch);
    step[advantages] = Advantages{opo_advantages(r.total, r.group.defined() ? r.group : c.group,
                                                 r.absent, c.mask(), singleton()),
                                  r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Opo, "Length-weighted group baseline (OPO)", "arXiv:2505.23585")
