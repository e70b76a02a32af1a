// The parameters of AdamW and its schedule, as optimizer nodes share them.
#pragma once
#include <array>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/step.h"
#include "nodes/optimize/update.h"

namespace rewardloom {

constexpr auto choices(Schedule) {
  return std::to_array<Choice<Schedule>>({
      {Schedule::constant, "constant", "the same after the warm-up"},
      {Schedule::linear, "linear", "falls to 0 at total_steps"},
      {Schedule::cosine, "cosine", "falls to 0 at total_steps along half a cosine"},
  });
}

struct OptimizerParams {
  explicit OptimizerParams(Node* node, double rate)
      : learning_rate(node, "learning_rate", rate, "of AdamW", {.min = 0}),
        weight_decay(node, "weight_decay", 0.0, "decoupled; norms and biases do not decay",
                     {.min = 0}),
        betas(node, "betas", std::vector<double>{0.9, 0.999},
              "decay of the first and second moment"),
        two_betas(node, {Json::object(),
                         {{"betas", {{"size", 2}, {"items", {{"min", 0}, {"below", 1}}}}}},
                         "betas must be two numbers, each at least 0 and below 1",
                         "the usual ones are 0.9 and 0.999"}),
        epsilon(node, "epsilon", 1e-8, "added to the root of the second moment", {.min = 0}),
        max_grad_norm(node, "max_grad_norm", 1.0,
                      "global norm from which gradients are clipped; 0: never", {.min = 0}),
        epochs(node, "epochs", 1, "passes over the rows", {.min = 1}),
        mini_batch(node, "mini_batch", 0, "rows per optimizer step; 0: all",
                   {.min = 0, .unit = "rows"}),
        shuffle(node, "shuffle", true,
                "draws the order of the rows where there are several mini-batches"),
        schedule(node, "schedule", Schedule::constant, "of the learning rate"),
        warmup(node, "warmup", 0, "optimizer steps over which the learning rate rises",
               {.min = 0, .unit = "steps"}),
        total_steps(node, "total_steps", 0, "optimizer steps after which a falling schedule ends",
                    {.min = 0, .unit = "steps"}),
        memory_budget(
            node, "memory_budget", 512.0,
            "for what a pass keeps, where the placement's micro_batch is \"auto\": as many "
            "rows as fit are trained at once",
            {.min = 1, .unit = "MiB"}) {}

  static RuleDeclaration needs_end() {
    return {{{"schedule", {"linear", "cosine"}}},
            {{"total_steps", {{"min", 1}}}},
            "the schedule falls towards an end that is not given",
            "set total_steps to iterations * optimizer steps per iteration"};
  }

  UpdateOptions operator()(const Step& step) const {
    if (betas().size() != 2 || betas()[0] < 0 || betas()[0] >= 1 || betas()[1] < 0 ||
        betas()[1] >= 1) {
      step.fail("param-range", "betas must be two numbers, each at least 0 and below 1",
                "the usual ones are 0.9 and 0.999");
    }
    UpdateOptions o;
    o.adamw = {learning_rate(), betas()[0],      betas()[1], epsilon(),
               weight_decay(),  max_grad_norm(), false};
    o.schedule = schedule();
    o.warmup_steps = warmup();
    o.total_steps = total_steps();
    o.epochs = epochs();
    o.mini_batch = mini_batch();
    o.shuffle = shuffle();
    o.micro_batch = micro_batch(step);
    return o;
  }
  /// What the placement says, else 16. `At` is a Step, or an Estimate.
  template <class At>
  std::int64_t micro_batch(const At& at) const {
    return at.micro_batch() > 0 ? at.micro_batch() : DescentOptions().micro_batch;
  }

  Param<double> learning_rate, weight_decay;
  Param<std::vector<double>> betas;
  Rule two_betas;
  Param<double> epsilon, max_grad_norm;
  Param<std::int64_t> epochs, mini_batch;
  Param<bool> shuffle;
  Param<Schedule> schedule;
  Param<std::int64_t> warmup, total_steps;
  Param<double> memory_budget;
};

}  // namespace rewardloom
