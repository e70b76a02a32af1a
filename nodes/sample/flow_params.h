// The steps of a rectified flow as parameters: the sampler and the optimizer must agree on them.
#pragma once
#include "engine/core/node.h"
#include "nodes/image/flow_sampler.h"

namespace rewardloom {

struct FlowParams {
  explicit FlowParams(Node* node)
      : steps(node, "steps", 10, "from noise to image, in equal steps of sigma",
              {.min = 2, .unit = "steps"}),
        kind(node, "kind", FlowKind::sde, "of the stochastic steps"),
        noise_level(node, "noise_level", 0.7, "a; 0 is the Euler step", {.min = 0}),
        log_prob(node, "log_prob", FlowLogProb::gaussian, "what log-probs are"),
        guidance(
            node, "guidance", 1.0,
            "classifier-free guidance: the velocity is v(x) + guidance (v(x | class) - v(x)); 1: "
            "none",
            {.min = 0}) {}

  static RuleDeclaration cps_level() {
    return {{{"kind", "cps"}},
            {{"noise_level", {{"max", 1.0}}}},
            "beyond 1 more noise_level means less noise",
            "use 0 to 1 with cps"};
  }
  FlowStepOptions step_options() const { return {kind(), noise_level(), log_prob()}; }

  Param<std::int64_t> steps;
  Param<FlowKind> kind;
  Param<double> noise_level;
  Param<FlowLogProb> log_prob;
  Param<double> guidance;
};

}  // namespace rewardloom
