#include "nodes/advantage/episode_step.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/group.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/token_rows.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

using RowList = std::span<const std::int64_t>;

/// Adds weight * (reward - baseline over `from`) to all of `rows`.
void add_advantages(const std::vector<double>& reward, RowList from, RowList rows, double weight,
                    const EpisodeStepOptions& options, std::vector<double>& advantage) {
  const Moments moments(reward, from);
  double factor = weight;
  if (options.baseline == EpisodeBaseline::leave_one_out) {
    if (moments.count < 2) return;
    factor *= static_cast<double>(moments.count) / static_cast<double>(moments.count - 1);
  } else if (options.baseline == EpisodeBaseline::mean_std) {
    const double divisor = moments.spread(true) + options.epsilon;
    if (divisor == 0) return;
    factor /= divisor;
  }
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    advantage[i] += factor * (reward[i] - moments.mean);
  }
}

/// The first row of each trajectory among the rows, into `first`.
void find_first_rows(RowList rows, const std::int64_t* trajectory,
                     std::vector<std::int64_t>& first) {
  const auto key = [trajectory](std::int64_t row) { return std::pair(trajectory[row], row); };
  const auto before = [&](auto a, auto b) { return key(a) < key(b); };
  const auto same = [trajectory](auto a, auto b) { return trajectory[a] == trajectory[b]; };
  first.assign(rows.begin(), rows.end());
  if (std::is_sorted(first.begin(), first.end(), before)) {
    first.erase(std::unique(first.begin(), first.end(), same), first.end());
    if (std::is_sorted(first.begin(), first.end())) return;
  }
  std::sort(first.begin(), first.end(), before);
  first.erase(std::unique(first.begin(), first.end(), same), first.end());
  std::sort(first.begin(), first.end());
}

std::vector<double> summed(const std::vector<double>& episode, const std::vector<double>& step,
                           double weight) {
  std::vector<double> out(episode.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = episode[i] + weight * step[i];
  return out;
}

}  // namespace

EpisodeStepAdvantages episode_step_advantages(const EpisodeStepInputs& inputs,
                                              const EpisodeStepOptions& options) {
  const std::vector<double> episode =
      finite_rows(inputs.episode_rewards, inputs.absent, "the episode reward");
  const std::vector<double> steps =
      finite_rows(inputs.step_rewards, inputs.absent, "the step reward");
  const auto count = static_cast<std::int64_t>(episode.size());
  require_vector("step rewards", inputs.step_rewards, count);
  require_vector("trajectory ids", inputs.trajectory, count);
  const Groups groups(inputs.group, inputs.absent, count);
  const at::Tensor ids = inputs.trajectory.to(at::kCPU, at::kLong).contiguous();
  const bool one_reward = options.combine == EpisodeCombine::reward_sum;
  const std::vector<double> both =
      one_reward ? summed(episode, steps, options.step_weight) : std::vector<double>{};

  EpisodeStepAdvantages result;
  std::vector<double> advantage(episode.size(), 0.0);
  std::vector<std::int64_t> first;
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const RowList rows = groups.rows(g);
    find_first_rows(rows, ids.data_ptr<std::int64_t>(), first);
    if (first.size() < 2) {
      ++result.lonely;
      continue;
    }
    const RowList from = options.step_baseline == StepBaseline::first_row ? RowList(first) : rows;
    if (one_reward) {
      add_advantages(both, from, rows, 1, options, advantage);
    } else {
      add_advantages(episode, first, rows, 1, options, advantage);
      add_advantages(steps, from, rows, options.step_weight, options, advantage);
    }
  }
  result.advantages = like_rewards(advantage, inputs.episode_rewards);
  return result;
}

struct EpisodeStep final : Node {
  Input<Rewards> episode_rewards{this, "episode_rewards",
                                 "the episode's, repeated on every turn, with group ids"};
  Input<Rewards> step_rewards{this, "step_rewards", "one per turn"};
  Input<Values> trajectory{
      this, "trajectory", "id of the trajectory that a turn belongs to", {.dims = "N"}};
  Output<Advantages> advantages{this, "advantages", "one advantage per turn"};
  Param<double> step_weight{this, "step_weight", 1.0, "weight of the step side (alpha)"};
  Param<EpisodeBaseline> baseline{this, "baseline", EpisodeBaseline::leave_one_out,
                                  "how rewards become advantages"};
  Param<StepBaseline> step_baseline{this, "step_baseline", StepBaseline::first_row,
                                    "which rows make the step baseline"};
  Param<double> epsilon{this, "epsilon", 1e-6, "added to the spread of mean_std", {.min = 0}};
  Param<EpisodeCombine> combine{this, "combine", EpisodeCombine::separate,
                                "two advantages, or one of the summed reward"};
  Synonyms words{this, {"iStar", "OPRL", "multi-turn", "agent", "step reward"}};
  Doc doc{this,
          "Rows are the turns of trajectories. A = episode advantage among the trajectories of the "
          "group + step_weight * step advantage; [N] -> [N].\n"
          "A group with one trajectory has nothing to compare with: 0, and the alarm "
          "one-trajectory. Absent rows enter nothing and get 0."};

  void run(Step& step) const override {
    const Rewards& e = step[episode_rewards];
    const Rewards& s = step[step_rewards];
    require_same_rows("episode_rewards", e.total.size(0), e.batch, "step_rewards", s.total.size(0),
                      s.batch);
    const at::Tensor absent = !e.absent.defined()   ? s.absent
                              : !s.absent.defined() ? e.absent
                                                    : e.absent.logical_or(s.absent);
    const EpisodeStepAdvantages out = episode_step_advantages(
        {e.total, s.total, e.group.defined() ? e.group : s.group, step[trajectory].values, absent},
        {step_weight(), baseline(), step_baseline(), epsilon(), combine()});
    if (out.lonely > 0) {
      step.alarm("one-trajectory",
                 fmt::format("{} groups have one trajectory: their advantages are 0", out.lonely));
    }
    step[advantages] = Advantages{out.advantages, e};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(EpisodeStep, "Episode and step advantage (iStar)", "arXiv:2509.19199")
