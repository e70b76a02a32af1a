#include "nodes/advantage/reinforce_pp_baseline.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/advantage/rows.h"
#include "nodes/advantage/whiten.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Values of rows, whitened as if each stood on `length` tokens.
void whiten_by_length(std::vector<double>& value, const std::vector<double>& length,
                      const WhitenOptions& options) {
  double tokens = 0, sum = 0, squares = 0;
  bool constant = true;
  double first = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (length[i] == 0) continue;
    if (tokens == 0) first = value[i];
    constant = constant && value[i] == first;
    tokens += length[i];
    sum += length[i] * value[i];
  }
  if (constant) {
    std::fill(value.begin(), value.end(), 0.0);
    return;
  }
  const double mean = sum / tokens;
  for (std::size_t i = 0; i < value.size(); ++i) {
    squares += length[i] * (value[i] - mean) * (value[i] - mean);
  }
  const double variance = squares / (options.variance == Divisor::sample ? tokens - 1 : tokens);
  const double held = options.epsilon_mode == EpsilonMode::add
                          ? variance + options.epsilon
                          : std::max(variance, options.epsilon);
  for (double& v : value) v = (v - mean) / std::sqrt(held);
}

}  // namespace

at::Tensor reinforce_pp_baseline(const at::Tensor& rewards, const at::Tensor& group,
                                 const at::Tensor& absent, const at::Tensor& mask,
                                 const ReinforceBaselineOptions& options,
                                 const ParallelCalls& parallel) {
  std::vector<double> value = finite_rows(rewards, absent, "the reward");
  const at::Tensor tokens = row_mask(mask, value.size());
  const Groups groups(group, absent, rewards.size(0));
  std::vector<double> length(value.size(), 0.0);
  const std::vector<double> all = lengths_of(tokens);
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const auto rows = groups.rows(g);
    const bool raw = rows.size() == 1 && options.singleton == Singleton::raw;
    const double mean = raw ? 0 : Moments(value, rows).mean;
    for (const std::int64_t row : rows) {
      const auto i = static_cast<std::size_t>(row);
      value[i] -= mean;
      length[i] = all[i];
    }
  }
  whiten_by_length(value, length, whitening_of(options.whiten));
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (length[i] == 0) value[i] = 0;
  }
  return on_tokens(like_rewards(value, rewards), tokens, parallel);
}

namespace {

enum class BaselineWhiten { sample, population };
constexpr auto choices(BaselineWhiten) {
  return std::to_array<Choice<BaselineWhiten>>({
      {BaselineWhiten::sample, "sample", "1e-8 added to the sample variance (verl)"},
      {BaselineWhiten::population, "population", "population variance held above 1e-8 (OpenRLHF)"},
  });
}

}  // namespace

struct ReinforcePpBaseline final : Node {
  Input<Rewards> rewards{
      this,
      "rewards",
      "one reward per completion, with group ids",
      {.needs = {{"group_size", {{"min", 2}}}, {"scale", {{"not", "normalised"}}}}}};
  Input<Completions> completions{this, "completions", "whose action tokens count"};
  Output<Advantages> advantages{
      this,
      "advantages",
      "the same on all tokens of a row",
      {.dims = "N,T", .facts = {{"scale", {{"normalised", Json::object()}}}}}};
  Param<BaselineWhiten> whitening{this, "whiten", BaselineWhiten::sample,
                                  "how the spread over tokens is taken"};
  Param<Singleton> singleton{this, "singleton", Singleton::zero,
                             "baseline of a group with one scored member"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"REINFORCE++-baseline", "group mean", "whitened"}};
  Doc doc{this,
          "A_i = r_i - mean of i's group, on every action token of the row, whitened over all "
          "tokens of the batch; [N] -> [N,T]. Long rows weigh more in mean and spread.\n"
          "Absent rows enter nothing and get 0."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const Completions& c = step[completions];
    require_same_rows("rewards", r.total.size(0), r.batch, "completions", c.rows(), c.batch);
    const Divisor divisor =
        whitening() == BaselineWhiten::sample ? Divisor::sample : Divisor::population;
    step[advantages] =
        Advantages{reinforce_pp_baseline(r.total, r.group.defined() ? r.group : c.group, r.absent,
                                         c.mask(), {divisor, singleton()}, calls_of(step)),
                   r};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ReinforcePpBaseline, "REINFORCE++ with group baseline", "arXiv:2501.03262")
