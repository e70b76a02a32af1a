#include <torch/types.h>

#include <array>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/advantage/token_rows.h"
#include "nodes/reward/rows.h"
#include "nodes/text/step_boundaries.h"

namespace rewardloom {

namespace {

enum class ScoreActivation { sigmoid, none };
constexpr auto choices(ScoreActivation) {
  return std::to_array<Choice<ScoreActivation>>({
      {ScoreActivation::sigmoid, "sigmoid", "the values are logits: a probability"},
      {ScoreActivation::none, "none", "the values as they are"},
  });
}

}  // namespace

struct StepScores final : Node {
  Input<Values> values{this, "values", "of the state before each token", {.dims = "N,T"}};
  Input<Values> step_end{this, "step_end", "column of each step's last token", {.dims = "N,S"}};
  Input<Completions> completions{this, "completions", "the rows they belong to"};
  Output<StepRewards> step_rewards{this, "step_rewards",
                                   "one score per step, 0 where there is none"};
  Param<ScoreActivation> activation{this, "activation", ScoreActivation::sigmoid,
                                    "what becomes of a value"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PRM", "process reward model", "verifier", "step reward"}};
  Doc doc{
      this,
      "A process reward model: what a value model that was trained on step labels (text.values) "
      "says of the state behind each step; [N,T] -> [N,S]. The last step of a row is judged "
      "before its last token, as reward.step_labels has it."};

  void run(Step& step) const override {
    const Completions& c = step[completions];
    const Values& v = step[values];
    const Values& ends = step[step_end];
    require_same_rows("values", v.values.size(0), v.batch, "completions", c.rows(), c.batch);
    require_same_rows("step_end", ends.values.size(0), ends.batch, "completions", c.rows(),
                      c.batch);
    require_sizes("values", v.values, "the completions' tokens", c.tokens.sizes());
    const at::Tensor end = ends.values.to(v.values.device(), at::kLong);
    const at::Tensor at = step_states(end, c.mask());
    const at::Tensor there = at.ge(0);
    at::Tensor score = v.values.gather(1, at.clamp_min(0));
    if (activation() == ScoreActivation::sigmoid) score = score.sigmoid();
    StepRewards out;
    out.rewards = score.masked_fill(there.logical_not(), 0.0);
    out.boundaries = end;
    out.group = c.group;
    out.batch = c.batch;
    step[step_rewards] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(StepScores, "Process reward model", "arXiv:2410.15115")
