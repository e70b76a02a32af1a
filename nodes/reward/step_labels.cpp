#include "nodes/reward/step_labels.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <limits>
#include <vector>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"
#include "nodes/text/step_boundaries.h"

namespace rewardloom {

at::Tensor step_labels(const at::Tensor& rewards, const at::Tensor& prefix,
                       const at::Tensor& absent, std::int64_t prefixes, StepLabel label,
                       double threshold) {
  const std::vector<double> reward = numbers_of(rewards);
  const at::Tensor of = prefix.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor gone = absent.defined() ? absent.to(at::kCPU, at::kBool).contiguous()
                                           : at::zeros(of.sizes(), at::kBool);
  std::vector<double> right(static_cast<std::size_t>(prefixes)), count(right.size());
  for (std::size_t i = 0; i < reward.size(); ++i) {
    if (gone.data_ptr<bool>()[i]) continue;
    const std::int64_t p = of.data_ptr<std::int64_t>()[i];
    if (p < 0 || p >= prefixes) {
      throw Failure(
          "bad-group",
          fmt::format("continuation {} belongs to prefix {}, there are {}", i, p, prefixes),
          "connect rewards of the continuations of these steps");
    }
    right[static_cast<std::size_t>(p)] += reward[i] >= threshold;
    count[static_cast<std::size_t>(p)] += 1;
  }
  for (std::size_t p = 0; p < right.size(); ++p) {
    right[p] = count[p] == 0              ? std::numeric_limits<double>::quiet_NaN()
               : label == StepLabel::hard ? static_cast<double>(right[p] > 0)
                                          : right[p] / count[p];
  }
  return at::tensor(at::ArrayRef<double>(right), at::dtype(at::kDouble));
}

struct MonteCarloLabels final : Node {
  Input<Rewards> rewards{this, "rewards", "of the answers that sample.continue_steps completed"};
  Input<Completions> completions{this, "completions", "the rows whose steps were continued"};
  Input<Values> step_end{this, "step_end", "column of each step's last token", {.dims = "N,S"}};
  Output<StepRewards> labels{this, "labels", "one per step, in 0 .. 1"};
  Output<Completions> states{
      this, "states", "the same rows; actions are the tokens in whose state a step is judged"};
  Output<Returns> returns{
      this, "returns", "the labels in these columns, 0 elsewhere", {.dims = "N,T"}};
  Param<StepLabel> label{this, "label", StepLabel::soft, "what the continuations say"};
  Param<double> threshold{this, "threshold", 1.0, "rewards from here on count as right"};
  Synonyms words{this, {"Monte Carlo", "Math-Shepherd", "PRM labels", "automatic annotation"}};
  Doc doc{
      this,
      "Trains a process reward model with optimize.value: connect states as its completions and "
      "returns as its returns, with loss.value_cross_entropy. A step none of whose "
      "continuations was scored has no label and is no state. Metric label: their mean."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const Rewards& r = step[rewards];
    const at::Tensor end = step[step_end].values.to(at::kCPU, at::kLong);
    require_same_rows("step_end", end.size(0), step[step_end].batch, "completions", c.rows(),
                      c.batch);
    if (!r.group.defined()) {
      step.fail("no-groups", "nothing says which step a reward continues",
                "connect rewards of what sample.continue_steps gives");
    }
    const at::Tensor place = end.ge(0).nonzero();  // row by row, as continue_steps numbers them
    const at::Tensor label_of =
        step_labels(r.total, r.group, r.absent, place.size(0), label(), threshold());
    const at::Tensor known = label_of.isnan().logical_not();
    const at::Tensor rows = place.select(1, 0).masked_select(known);
    const at::Tensor column = place.select(1, 1).masked_select(known);
    const at::Tensor value = label_of.masked_select(known).to(at::kFloat);
    StepRewards out;
    out.rewards = at::zeros(end.sizes()).index_put({rows, column}, value);
    out.boundaries = at::full_like(end, -1).index_put({rows, column}, end.index({rows, column}));
    out.group = c.group;
    out.batch = c.batch;
    give_states(step, c, step_states(end, c.mask()).index({rows, column}), rows, value);
    if (value.numel() > 0) step.metric("label", value.mean().item<double>());
    step[labels] = std::move(out);
  }

 private:
  void give_states(Step& step, const Completions& c, const at::Tensor& column,
                   const at::Tensor& rows, const at::Tensor& value) const {
    Completions judged = c;
    const at::Tensor kinds = c.kinds.to(at::kCPU);
    const auto kind = [](TokenKind k) { return static_cast<std::int64_t>(k); };
    judged.kinds =
        kinds.masked_fill(kinds.eq(kind(TokenKind::action)), kind(TokenKind::observation))
            .index_put({rows, column}, at::scalar_tensor(kind(TokenKind::action), kinds.options()));
    judged.kinds = judged.kinds.to(c.kinds.device());
    step[states] = std::move(judged);
    step[returns] =
        Returns{at::zeros(c.tokens.sizes()).index_put({rows, column}, value).to(c.tokens.device()),
                c.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MonteCarloLabels, "Monte-Carlo labels of steps", "arXiv:2312.08935")
