#include "nodes/advantage/gpg.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/host_rows.h"
#include "nodes/advantage/rows.h"

namespace rewardloom {

at::Tensor gpg_advantages(const at::Tensor& rewards, const at::Tensor& group,
                          const at::Tensor& absent, const GpgOptions& options) {
  const at::Tensor numbers = host_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const double* const reward = numbers.data_ptr<double>();
  const auto scored = groups.rows();
  const auto paid = std::count_if(scored.begin(), scored.end(),
                                  [reward](std::int64_t row) { return reward[row] != 0; });
  const double alpha =
      static_cast<double>(scored.size()) / static_cast<double>(std::max<std::ptrdiff_t>(1, paid));
  const double scale = alpha / options.f_norm;
  at::Tensor advantages = at::zeros_like(numbers);
  double* const advantage = advantages.data_ptr<double>();
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    const bool raw = rows.size() == 1 && options.singleton == Singleton::raw;
    const double mean = raw ? 0 : GroupMean(reward, rows).mean;
    for (const std::int64_t row : rows) advantage[row] = scale * (reward[row] - mean);
  }
  return like_rewards(advantages, rewards);
}

struct Gpg final : Node {
  Input<Rewards> rewards{this, "rewards", "one reward per completion, with group ids"};
  Output<Advantages> advantages{this, "advantages", "one advantage per completion"};
  Param<double> f_norm{
      this, "f_norm", 1.0, "divides the centred reward", {.min = 0, .exclusive_min = true}};
  Param<Singleton> singleton{this, "singleton", Singleton::raw,
                             "advantage of a group with one scored member"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"GPG", "group policy gradient"}};
  Doc doc{this,
          "A_i = alpha (r_i - mean of i's group) / f_norm, alpha = rows / rows with a reward other "
          "than 0; [N] -> [N]. Absent rows enter nothing and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    step[advantages] =
        Advantages{gpg_advantages(r.total, r.group, r.absent, {f_norm(), singleton()}), r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Gpg, "Group policy gradient (GPG)", "arXiv:2504.02546")
