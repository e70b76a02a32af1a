#include "nodes/advantage/maxrl.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/host_rows.h"
#include "nodes/advantage/rows.h"

namespace rewardloom {

MaxRlAdvantages maxrl_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const MaxRlOptions& options) {
  const at::Tensor numbers = host_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const double* const reward = numbers.data_ptr<double>();
  at::Tensor advantages = at::zeros_like(numbers);
  double* const advantage = advantages.data_ptr<double>();
  MaxRlAdvantages result;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    if (rows.size() == 1 && options.singleton == Singleton::raw) {
      advantage[rows[0]] = reward[rows[0]];
      continue;
    }
    const GroupMean all(reward, rows);
    result.negative += all.mean < 0;  // without a branch: signs are hard to predict
    const double divisor = all.mean + options.epsilon;
    if (all.constant || divisor == 0) continue;
    const double scale = 1 / divisor;
    for (const std::int64_t row : rows) advantage[row] = (reward[row] - all.mean) * scale;
  }
  result.advantages = like_rewards(advantages, rewards);
  return result;
}

struct MaxRl final : Node {
  Input<Rewards> rewards{this,
                         "rewards",
                         "one reward per completion, not negative, with group ids",
                         {.needs = {{"group_size", {{"min", 2}}}}}};
  Output<Advantages> advantages{this, "advantages", "one advantage per completion"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the mean", {.min = 0}};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one scored member"};
  Synonyms words{this, {"MaxRL", "maximum likelihood", "success rate"}};
  Doc doc{
      this,
      "A_i = (r_i - m) / (m + epsilon), m the mean of i's group; [N] -> [N]. With rewards 0 and "
      "1 the divisor is the group's success rate: rare successes weigh more.\n"
      "Groups with a negative mean turn the sign over: alarm negative-mean."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const MaxRlAdvantages out =
        maxrl_advantages(r.total, r.group, r.absent, {epsilon(), singleton()});
    if (out.negative > 0) {
      step.alarm("negative-mean",
                 fmt::format("{} groups have a negative mean reward: their advantages have the "
                             "wrong sign",
                             out.negative));
    }
    step[advantages] = Advantages{out.advantages, r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MaxRl, "Maximum-likelihood RL (MaxRL)", "arXiv:2602.02710")
