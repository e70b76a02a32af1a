#include "engine/core/estimate.h"
#include "engine/core/registry.h"
#include "nodes/flow/bodies.h"

namespace rewardloom {

struct Every final : Node, FiresBodies {
  Param<std::string> body{this, "body", required, "the subgraph that is run"};
  Param<std::int64_t> period{this,
                             "period",
                             required,
                             "runs once in so many iterations",
                             {.min = 1, .unit = "iterations"}};
  Param<std::int64_t> offset{
      this, "offset", 0, "first iteration in which it runs", {.min = 0, .unit = "iterations"}};
  Param<std::optional<Json>> with{this, "with", std::nullopt,
                                  "values of the subgraph's parameters"};
  Body bodies{this, "body"};
  State<KeptValues> last{this, "last"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"periodic", "interval", "evaluate every"}};
  Doc doc{
      this,
      "Runs its body in iterations offset, offset + period, ... In between it gives the outputs "
      "of the last time (they are checkpointed); before the first time it gives none, and nodes "
      "that need them do not run. Handles cannot be outputs of the body."};

  void run(Step& step) const override {
    KeptValues& kept = step[last];
    const std::int64_t since = step.iteration() - offset();
    if (since >= 0 && since % period() == 0) kept.set(step.run(bodies, {}));
    deliver(step, kept.values());
  }

  double body_firings() const override { return 1.0 / static_cast<double>(period()); }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Every, "Every so many iterations", "")
