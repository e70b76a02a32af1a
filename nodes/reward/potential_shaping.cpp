#include "nodes/reward/potential_shaping.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

[[noreturn]] void refuse(const at::Tensor& rewards, const at::Tensor& potential) {
  throw Failure(
      "bad-shape",
      c10::str("the rewards are ", rewards.sizes(), ", but the potential is ", potential.sizes()),
      "give rewards [N,T] and potential [N,T+1], or a table [S,A,S] and potential [S]");
}

at::Tensor shaped_table(const at::Tensor& rewards, const at::Tensor& potential, double gamma) {
  if (potential.dim() != 1 || rewards.size(0) != potential.size(0) ||
      rewards.size(2) != potential.size(0)) {
    refuse(rewards, potential);
  }
  return rewards + gamma * potential.reshape({1, 1, -1}) - potential.reshape({-1, 1, 1});
}

}  // namespace

at::Tensor potential_shaped(const at::Tensor& rewards, const at::Tensor& potential,
                            const at::Tensor& terminated, double gamma,
                            TerminalPotential terminal) {
  const at::Tensor phi = potential.to(rewards.options());
  if (rewards.dim() == 3) return shaped_table(rewards, phi, gamma);
  if (rewards.dim() != 2 || phi.dim() != 2 || phi.size(0) != rewards.size(0) ||
      phi.size(1) != rewards.size(1) + 1) {
    refuse(rewards, phi);
  }
  at::Tensor next = phi.narrow(1, 1, rewards.size(1));
  if (terminal == TerminalPotential::zero && terminated.defined()) {
    if (terminated.sizes() != rewards.sizes()) {
      throw Failure("bad-shape", c10::str("the rewards are ", rewards.sizes(),
                                          ", but terminated is ", terminated.sizes()));
    }
    next = next.masked_fill(terminated.to(rewards.device(), at::kBool), 0.0);
  }
  return rewards + gamma * next - phi.narrow(1, 0, rewards.size(1));
}

struct PotentialShaping final : Node {
  Optional<Values> rewards{this, "rewards", "per step, or a table [S,A,S]"};
  Optional<StepRewards> step_rewards{this, "step_rewards", "instead: of a process reward model"};
  Optional<Trajectories> trajectories{this, "trajectories", "instead: their rewards"};
  Input<Values> potential{this, "potential", "[N,T+1], one more than rewards; [S] for a table"};
  Optional<Values> terminated{
      this, "terminated", "steps that end an episode; else the trajectories'", {.dims = "N,T"}};
  Output<Values> out{this, "rewards", "shaped, as they came"};
  Output<StepRewards> out_steps{this, "step_rewards",
                                "shaped, where step_rewards or trajectories came"};
  Output<Trajectories> out_trajectories{this, "trajectories",
                                        "with shaped rewards, where they came"};
  Param<double> gamma{
      this, "gamma", required, "the learner's discount factor", {.min = 0, .max = 1}};
  Param<TerminalPotential> terminal{this, "terminal", TerminalPotential::keep,
                                    "potential of a terminal state"};
  Rule one_source{this,
                  {{{"rewards", {{"connected", false}}}, {"step_rewards", {{"connected", false}}}},
                   {{"trajectories", {{"connected", true}}}},
                   "there are no rewards to shape",
                   "connect rewards, step_rewards or trajectories"}};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"PBRS", "reward shaping", "potential", "policy invariance"}};
  Doc doc{
      this,
      "r + gamma * potential(next state) - potential(state). Only with the learner's own gamma is "
      "the best policy left as it is."};

  void run(Step& step) const override {
    const Trajectories* const paths = step[trajectories];
    const StepRewards* const steps = step[step_rewards];
    const Values* const plain = step[rewards];
    at::Tensor ends;
    if (const Values* given = step[terminated]) {
      ends = given->values;
    } else if (paths != nullptr) {
      ends = paths->terminated;
    }
    const at::Tensor before = plain != nullptr   ? plain->values
                              : steps != nullptr ? steps->rewards
                              : paths != nullptr ? paths->rewards
                                                 : at::Tensor();
    if (!before.defined()) {
      step.fail("there are no rewards to shape", "connect rewards, step_rewards or trajectories");
    }
    at::Tensor after = potential_shaped(before, step[potential].values, ends, gamma(), terminal());
    if (steps != nullptr && plain == nullptr) {
      after = after.masked_fill(step_mask_of(*steps), 0.0);
      StepRewards shaped = *steps;
      shaped.rewards = after;
      step[out_steps] = std::move(shaped);
    } else if (paths != nullptr && plain == nullptr) {
      Trajectories shaped = *paths;
      shaped.rewards = after;
      step[out_trajectories] = std::move(shaped);
      StepRewards as_steps;
      as_steps.rewards = after;
      as_steps.batch = paths->batch;
      step[out_steps] = std::move(as_steps);
    }
    step[out] = Values{after, plain != nullptr ? plain->batch : 0};
  }

 private:
  static at::Tensor step_mask_of(const StepRewards& steps) {
    return steps.boundaries.defined() ? steps.boundaries.lt(0).to(steps.rewards.device())
                                      : at::zeros_like(steps.rewards, at::kBool);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(PotentialShaping, "Potential-based shaping", "Ng et al. 1999")
