#include "engine/core/estimate.h"
#include "engine/core/registry.h"
#include "nodes/flow/bodies.h"

namespace rewardloom {

struct Repeat final : Node, FiresBodies {
  Param<std::string> body{this, "body", required, "the subgraph that is run"};
  Param<std::int64_t> times{this, "times", 1, "how often, at most", {.min = 1}};
  Param<std::optional<Json>> until{this, "until", std::nullopt,
                                   "ends earlier: {\"metric\": NAME, \"above\": x} or "
                                   "\"below\", of a Metrics output of the body"};
  Param<std::optional<Json>> with{this, "with", std::nullopt,
                                  "values of the subgraph's parameters"};
  Body bodies{this, "body"};
  TraitsMember traits{this, {.effect = true}};
  Synonyms words{this, {"loop", "for", "while", "inner steps"}};
  Doc doc{
      this,
      "Runs its body several times within one iteration; its inputs and outputs are the body's. "
      "Outputs are those of the last time. Each time has its own random numbers and, for nodes "
      "that walk through data, its own iteration number. Metric times: how often it ran."};

  void run(Step& step) const override {
    const MetricCondition enough = MetricCondition::from_json(until().value_or(Json()));
    NamedValues values;
    std::int64_t done = 0;
    while (done < times() && !step.cancelled()) {
      values = step.run(bodies, {.index = done, .of = times()});
      ++done;
      if (enough.holds(values)) break;
    }
    step.metric("times", static_cast<double>(done));
    deliver(step, values);
  }

  double body_firings() const override { return static_cast<double>(times()); }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Repeat, "Repeat", "")
