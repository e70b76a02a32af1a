#include "nodes/advantage/pass_at_k.h"

#include <torch/types.h>

#include <limits>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/group.h"
#include "nodes/advantage/rows.h"

namespace rewardloom {

at::Tensor pass_at_k_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                const at::Tensor& absent, const PassAtKOptions& options) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const auto one = [&](std::span<const std::int64_t> rows, std::vector<double>& advantage) {
    if (rows.size() < 2) return;
    double best = -std::numeric_limits<double>::infinity();
    double second = best;
    std::size_t winner = 0;
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      if (reward[i] > best) {
        second = best;
        best = reward[i];
        winner = i;
      } else if (reward[i] > second) {
        second = reward[i];
      }
    }
    if (best == second) return;
    const double spread =
        options.scale == PassScale::none ? 1 : Moments(reward, rows).spread(true) + options.epsilon;
    advantage[winner] = (best - second) / spread;
  };
  return like_rewards(by_group(reward, groups, one), rewards);
}

struct PassAtK final : Node {
  Input<Rewards> rewards{
      this,
      "rewards",
      "one reward per completion, with group ids",
      {.needs = {{"group_size", {{"min", 2}}},
                 {"scale", {{"not", "normalised"}, {"when", {{"scale", "group_std"}}}}}}}};
  Output<Advantages> advantages{this,
                                "advantages",
                                "one advantage per completion",
                                {.facts = {{"scale", {{"normalised", {{"scale", "group_std"}}}}}}}};
  Param<PassScale> scale{this, "scale", PassScale::group_std, "what divides the difference"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread", {.min = 0}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"pass@k", "best of k", "max"}};
  Doc doc{this,
          "The best row of each group gets (best - second best) / (sample spread + epsilon), all "
          "others 0; [N] -> [N]. Two that share the best leave 0. Absent rows take no part."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    step[advantages] =
        Advantages{pass_at_k_advantages(r.total, r.group, r.absent, {scale(), epsilon()}), r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PassAtK, "Pass@k advantage", "arXiv:2503.19595")
