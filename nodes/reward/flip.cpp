#include "nodes/reward/flip.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/problem.h"
#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

double chance(const FlipOptions& options, double reward) {
  if (reward > 0.5 && options.false_negatives) return *options.false_negatives;
  if (reward <= 0.5 && options.false_positives) return *options.false_positives;
  return options.false_negatives || options.false_positives ? 0 : options.p;
}

std::uint64_t unit_of(FlipUnit unit, std::int64_t row, std::int64_t group) {
  if (unit == FlipUnit::batch) return 0;
  return static_cast<std::uint64_t>(unit == FlipUnit::prompt ? group : row);
}

}  // namespace

Flipped flip_rewards(const at::Tensor& rewards, const at::Tensor& group, const at::Tensor& kept,
                     const FlipOptions& options, const Random& random) {
  const std::vector<double> before = numbers_of(rewards);
  if (options.unit == FlipUnit::prompt && !group.defined()) {
    throw Failure("no-groups", "these rewards do not say which answers belong to one prompt",
                  "connect rewards of a sampler, or set unit to sample");
  }
  std::vector<std::int64_t> groups(before.size(), 0);
  if (group.defined()) {
    const at::Tensor ids = group.to(at::kCPU, at::kLong).contiguous();
    groups.assign(ids.data_ptr<std::int64_t>(), ids.data_ptr<std::int64_t>() + ids.numel());
  }
  const std::vector<double> keep =
      kept.defined() ? numbers_of(kept.to(at::kDouble)) : std::vector<double>(before.size(), 0.0);
  std::vector<double> after = before;
  at::Tensor flipped = at::zeros({static_cast<std::int64_t>(before.size())}, at::kBool);
  bool* const mark = flipped.data_ptr<bool>();
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (!(before[i] >= 0 && before[i] <= 1)) {
      throw Failure(
          "reward-range",
          fmt::format("row {} has the reward {:g}; 1 - r is a lie only for rewards from 0 to 1", i,
                      before[i]),
          "flip a verdict of right or wrong, before any shaping");
    }
    if (keep[i] != 0) continue;
    const auto row = static_cast<std::int64_t>(i);
    Random draw = random.at(unit_of(options.unit, row, groups[i]));
    if (draw.uniform() >= chance(options, before[i])) continue;
    after[i] = 1 - before[i];
    mark[i] = true;
  }
  const at::Tensor total =
      at::tensor(at::ArrayRef<double>(after), at::dtype(at::kDouble)).to(rewards.options());
  return {total, flipped.to(rewards.device())};
}

struct Flip final : Node {
  Input<Rewards> rewards{this, "rewards", "verdicts from 0 to 1"};
  Optional<Rewards> parseable{this, "parseable",
                              "1 where an answer could be read; the others are never flipped"};
  Output<Rewards> out{this, "rewards", "the noisy verdicts", {.facts = {{"noisy", true}}}};
  Param<double> p{
      this, "p", 0.0, "chance that a unit's verdicts are turned round", {.min = 0, .max = 1}};
  Param<FlipUnit> unit{this, "unit", FlipUnit::prompt, "what is turned round together"};
  Param<std::optional<double>> false_negatives{this,
                                               "false_negatives",
                                               std::nullopt,
                                               "chance for right answers, instead of p",
                                               {.min = 0, .max = 1}};
  Param<std::optional<double>> false_positives{this,
                                               "false_positives",
                                               std::nullopt,
                                               "chance for wrong answers, instead of p",
                                               {.min = 0, .max = 1}};
  Rule one_kind{this,
                {{{"false_negatives", {{"set", true}}}},
                 {{"p", {{"max", 0}}}},
                 "p and the two one-sided chances exclude each other",
                 "leave p at 0"}};
  TraitsMember traits{this, {}};
  Synonyms words{this, {"noise", "label noise", "robustness", "false positives"}};
  Doc doc{
      this,
      "r' = 1 - r for units drawn with probability p; [N] -> [N].\n"
      "With a group mean as baseline the expected advantage is (1 - 2p) times the true one: its "
      "sign stands for p below a half, and at a half nothing can be learned. The draws have a "
      "stream of their own, so that branches of a sweep share them: what is flipped at p is "
      "flipped at every larger p. Metrics: flipped, the share that lies."};

  void run(Step& step) const override {
    const Rewards& r = step[rewards];
    at::Tensor kept = r.absent;
    if (const Rewards* readable = step[parseable]) {
      require_same_rows("rewards", r.total.size(0), r.batch, "parseable", readable->total.size(0),
                        readable->batch);
      kept = either_absent(kept, readable->total.le(0.5));
    }
    const Flipped result =
        flip_rewards(r.total, r.group, kept, {p(), unit(), false_negatives(), false_positives()},
                     step.random(0));
    step.metric("flipped", result.flipped.to(at::kDouble).mean().item<double>());
    step[out] = changed(step, r, result.total);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Flip, "Flipped verdicts", "arXiv:2505.22653")
