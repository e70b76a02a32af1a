#include "nodes/advantage/gpg.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/rows.h"

namespace rewardloom {

at::Tensor gpg_advantages(const at::Tensor& rewards, const at::Tensor& group,
                          const at::Tensor& absent, const GpgOptions& options) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const auto scored = groups.rows();
  const auto paid = std::count_if(scored.begin(), scored.end(), [&](std::int64_t row) {
    return reward[static_cast<std::size_t>(row)] != 0;
  });
  const double alpha =
      static_cast<double>(scored.size()) / static_cast<double>(std::max<std::ptrdiff_t>(1, paid));
  const double scale = alpha / options.f_norm;
  const auto one = [&](std::span<const std::int64_t> rows, std::vector<double>& advantage) {
    const bool raw = rows.size() == 1 && options.singleton == Singleton::raw;
    const double mean = raw ? 0 : GroupMean(reward, rows).mean;
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      advantage[i] = scale * (reward[i] - mean);
    }
  };
  return like_rewards(by_group(reward, groups, one), rewards);
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
