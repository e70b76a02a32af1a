#include "nodes/reward/length_harmony.h"

#include <torch/types.h>

#include <algorithm>

#include "engine/core/registry.h"
#include "nodes/advantage/groups.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

/// Mean length of the right rows; 0 if there are none.
double right_length(const std::vector<double>& rewards, const std::vector<double>& lengths,
                    std::span<const std::int64_t> rows, double threshold) {
  double sum = 0;
  double count = 0;
  for (const std::int64_t row : rows) {
    const auto i = static_cast<std::size_t>(row);
    if (rewards[i] < threshold) continue;
    sum += lengths[i];
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

}  // namespace

at::Tensor length_harmony(const at::Tensor& rewards, const at::Tensor& lengths,
                          const at::Tensor& group, const at::Tensor& absent,
                          const LengthHarmonyOptions& options) {
  const std::vector<double> r = finite_rows(rewards, absent, "rewards");
  const std::vector<double> n = numbers_of(lengths);
  const Groups groups(group, absent, rewards.size(0));
  std::vector<double> penalty(r.size());
  for (std::size_t g = 0; g < groups.count(); ++g) {
    const double wanted = right_length(r, n, groups.rows(g), options.threshold);
    if (wanted <= 0) continue;
    for (const std::int64_t row : groups.rows(g)) {
      const auto i = static_cast<std::size_t>(row);
      if (r[i] >= options.threshold) continue;
      const double shortfall = (wanted - n[i]) / wanted;
      penalty[i] = -options.max_penalty *
                   std::clamp((shortfall - options.tau) / (1 - options.tau), 0.0, 1.0);
    }
  }
  return at::tensor(at::ArrayRef<double>(penalty), at::dtype(at::kDouble))
      .to(rewards.device(), rewards.scalar_type());
}

struct LengthHarmony final : Node {
  Input<Rewards> rewards{this, "rewards", "which answers are right"};
  Optional<Completions> completions{this, "completions", "whose action tokens are counted"};
  Optional<Values> lengths{
      this, "lengths", "tokens per row, instead of completions", {.dims = "N"}};
  Output<Rewards> penalty{this, "penalty", "0 down to -max_penalty; add it with reward.combine"};
  Param<double> max_penalty{this, "max_penalty", 0.5, "of an empty wrong answer", {.min = 0}};
  Param<double> tau{this,
                    "tau",
                    0.2,
                    "shortfall that costs nothing",
                    {.min = 0, .max = 1, .exclusive_max = true}};
  Param<double> threshold{this, "threshold", 0.5, "reward that counts as right"};
  Rule one_source{this,
                  {{{"completions", {{"connected", false}}}},
                   {{"lengths", {{"connected", true}}}},
                   "nothing says how long the answers are",
                   "connect completions, or lengths"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"HARMO", "length penalty", "brevity"}};
  Doc doc{this,
          "Wrong answers pay for being shorter than the group's right ones, by mean; [N]. Right "
          "answers "
          "pay nothing, nor do groups without one."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    const Completions* const c = step[completions];
    const Values* const given = step[lengths];
    if (c == nullptr && given == nullptr) {
      step.fail("nothing says how long the answers are", "connect completions, or lengths");
    }
    const at::Tensor counted = given != nullptr ? given->values : c->lengths();
    require_same_rows("rewards", r.total.size(0), r.batch, "lengths", counted.size(0),
                      given != nullptr ? given->batch : c->batch);
    step[penalty] = rescored(
        step, r,
        length_harmony(r.total, counted, r.group, r.absent, {max_penalty(), tau(), threshold()}));
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(LengthHarmony, "Length harmony (HARMO)", "arXiv:2510.05283")
