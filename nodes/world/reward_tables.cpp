#include "nodes/world/reward_tables.h"

#include <ATen/ATen.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

struct RewardTables final : Node {
  Output<Values> prior{
      this, "prior", "probability of each candidate before training", {.dims = "N"}};
  Output<Rewards> first{this, "first", "what the reward model of the first property says"};
  Output<Rewards> second{this, "second", "what that of the second property says"};
  Output<Rewards> truth{this,
                        "truth",
                        "what the candidates are worth: the lesser property; each is a component",
                        {.gold = true}};
  Param<std::int64_t> prompts{this, "prompts", 200, "prompts of a world", {.min = 1}};
  Param<std::int64_t> candidates{this, "candidates", 64, "answers per prompt", {.min = 2}};
  Param<double> correlation{
      this, "correlation", -0.3, "of the two properties' true values", {.min = -1, .max = 1}};
  Param<double> trained_up_to{this, "trained_up_to", 1.0,
                              "true value beyond which the reward models were never trained"};
  Param<double> misspecification{
      this, "misspecification", 1.5, "size of their error per unit beyond it", {.min = 0}};
  Param<double> noise{this, "noise", 0.1, "size of their error everywhere", {.min = 0}};
  Param<double> tail{this, "tail", 3.0, "degrees of freedom of that error", {.min = 1}};
  TraitsMember traits{this, {}};
  Synonyms words{this, {"gold world", "tabular", "misspecified reward", "synthetic"}};
  Doc doc{
      this,
      "A new world in every iteration: prompts X with Y candidate answers, N = X Y rows, the prompt "
      "as group id. Two true properties are normal with a correlation; a reward model sees the "
      "truth plus noise, and beyond the range it was trained on an error in the answer's favour, "
      "|Student t| times the distance. Everything is known, so that the best policy can be "
      "written down instead of trained."};

  void run(Step& step) const override {
    TableWorldOptions options;
    options.prompts = prompts();
    options.candidates = candidates();
    options.correlation = correlation();
    options.trained_up_to = trained_up_to();
    options.misspecification = misspecification();
    options.noise = noise();
    options.tail = tail();
    const TableWorld world = make_table_world(options, step.random(0));
    const at::Tensor group = at::arange(prompts(), at::kLong).repeat_interleave(candidates());
    const auto rewards = [&](const at::Tensor& table) {
      Rewards r;
      r.total = table.flatten();
      r.group = group;
      return r;
    };
    step[prior] = Values{world.prior.flatten(), 0};
    step[first] = rewards(world.proxy[0]);
    step[second] = rewards(world.proxy[1]);
    Rewards gold = rewards(at::minimum(world.truth[0], world.truth[1]));
    gold.components = {{"first", world.truth[0].flatten()}, {"second", world.truth[1].flatten()}};
    step[truth] = std::move(gold);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(RewardTables, "World of known rewards (tables)", "arXiv:2402.00742")
