// A node type outside the tree: turns rewards around.
#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace example {
using namespace rewardloom;

struct Negate final : Node {
  Input<Rewards> rewards{this, "rewards", "one reward per row"};
  Output<Rewards> negated{this, "negated", "the same with the other sign"};
  Param<double> scale{this, "scale", 1.0, "by which they are multiplied besides"};

  void run(Step& step) const override {
    Rewards result = step[rewards];
    result.total = result.total.mul(-scale());
    step[negated] = std::move(result);
  }
};

}  // namespace example

REWARDLOOM_PLUGIN(registry.add<example::Negate>("example.negate", "Negated rewards", "an example"))
