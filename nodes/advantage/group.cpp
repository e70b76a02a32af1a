#include "nodes/advantage/group.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/groups.h"

namespace rewardloom {

at::Tensor like_rewards(const std::vector<double>& values, const at::Tensor& rewards) {
  return like_rewards(at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble)), rewards);
}

at::Tensor like_rewards(const at::Tensor& values, const at::Tensor& rewards) {
  const at::ScalarType type =
      at::isFloatingType(rewards.scalar_type()) ? rewards.scalar_type() : at::kFloat;
  return values.to(rewards.device(), type);
}

GroupAdvantages group_advantages(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const GroupAdvantageOptions& options) {
  const std::vector<double> reward = finite_rows(rewards, absent, "the reward");
  const Groups groups(group, absent, rewards.size(0));
  const bool sample = options.divisor == Divisor::sample;
  const double batch_spread = Moments(reward, groups.rows()).spread(sample);

  GroupAdvantages result;
  result.groups = groups.count();
  std::vector<double> advantage(reward.size(), 0.0);
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    const Moments moments(reward, rows);
    if (moments.constant) ++result.constant;
    const bool raw = rows.size() == 1 && options.singleton == Singleton::raw;
    if (moments.constant && !raw) continue;
    const double group_spread = raw ? 1.0 : moments.spread(sample);
    const double divisor = options.scale == GroupScale::none ? 1.0
                           : options.scale == GroupScale::group_std
                               ? group_spread + options.epsilon
                               : batch_spread + options.epsilon;
    const double baseline = raw ? 0.0 : moments.mean;
    for (const std::int64_t row : rows) {
      double& a = advantage[static_cast<std::size_t>(row)];
      a = (reward[static_cast<std::size_t>(row)] - baseline) / divisor;
      if (options.clip) a = std::clamp(a, -*options.clip, *options.clip);
    }
  }
  result.advantages = like_rewards(advantage, rewards);
  return result;
}

namespace {

enum class GroupPreset { none, verl, trl, openrlhf, flow_grpo, adv_grpo };
constexpr auto choices(GroupPreset) {
  return std::to_array<Choice<GroupPreset>>({
      {GroupPreset::none, "none", "the parameters as given"},
      {GroupPreset::verl, "verl", "epsilon 1e-6, sample, a group of one keeps its reward"},
      {GroupPreset::trl, "trl", "epsilon 1e-4, sample"},
      {GroupPreset::openrlhf, "openrlhf", "epsilon 1e-9, sample"},
      {GroupPreset::flow_grpo, "flow_grpo", "epsilon 1e-4, population"},
      {GroupPreset::adv_grpo, "adv_grpo", "epsilon 1e-4, population, batch spread, clip 5"},
  });
}

}  // namespace

struct GroupAdvantage final : Node {
  Input<Rewards> rewards{
      this,
      "rewards",
      "one reward per completion, with group ids",
      {.needs = {
           {"group_size", {{"min", 2}}},
           {"scale", {{"not", "normalised"}, {"when", {{"scale", {"group_std", "batch_std"}}}}}}}}};
  Output<Advantages> advantages{
      this,
      "advantages",
      "one advantage per completion",
      {.facts = {{"scale", {{"normalised", {{"scale", {"group_std", "batch_std"}}}}}}}}};
  Param<GroupScale> scale{this, "scale", GroupScale::group_std, "what divides the centred reward"};
  Param<Divisor> divisor{this, "std", Divisor::sample, "divisor of the variance"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread", {.min = 0}};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "advantage of a group with one scored member"};
  Param<std::optional<double>> clip{this,
                                    "clip",
                                    std::nullopt,
                                    "the result is held within +-clip; null: not at all",
                                    {.min = 0, .exclusive_min = true}};
  Param<GroupPreset> preset{this, "preset", GroupPreset::none,
                            "sets the other parameters as a framework does; explicit ones win"};
  Preset verl{this,
              "verl",
              {{"epsilon", 1e-6}, {"std", "sample"}, {"scale", "group_std"}, {"singleton", "raw"}}};
  Preset trl{this,
             "trl",
             {{"epsilon", 1e-4}, {"std", "sample"}, {"scale", "group_std"}, {"singleton", "zero"}}};
  Preset openrlhf{
      this,
      "openrlhf",
      {{"epsilon", 1e-9}, {"std", "sample"}, {"scale", "group_std"}, {"singleton", "zero"}}};
  Preset flow_grpo{
      this,
      "flow_grpo",
      {{"epsilon", 1e-4}, {"std", "population"}, {"scale", "group_std"}, {"singleton", "zero"}}};
  Preset adv_grpo{this,
                  "adv_grpo",
                  {{"epsilon", 1e-4},
                   {"std", "population"},
                   {"scale", "batch_std"},
                   {"singleton", "zero"},
                   {"clip", 5.0}}};
  Synonyms words{this, {"GRPO", "Dr.GRPO", "DAPO", "Flow-GRPO", "group normalisation", "baseline"}};
  Doc doc{
      this,
      "A_i = (r_i - mean of i's group) / (spread + epsilon); rewards [N] -> advantages [N].\n"
      "Groups are ids, not strides: ragged groups in any order are fine. Absent rows enter no "
      "mean and get 0. A group of equal rewards gets exactly 0 (moments are taken in two passes "
      "in double), and so does a group of one unless singleton is raw. Metric constant_groups: "
      "the share of groups without any signal."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const GroupAdvantages result = group_advantages(
        r.total, r.group, r.absent, {scale(), divisor(), epsilon(), singleton(), clip()});
    if (result.groups > 0) {
      step.metric("constant_groups",
                  static_cast<double>(result.constant) / static_cast<double>(result.groups));
    }
    step[advantages] = Advantages{result.advantages, r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(GroupAdvantage, "Group-relative advantage (GRPO)", "arXiv:2402.03300")
