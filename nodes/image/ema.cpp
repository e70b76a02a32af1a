#include <algorithm>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/image/flow_net.h"

namespace rewardloom {

namespace {

/// How often the average was moved; checkpointed.
struct AverageCount {
  std::int64_t fired = 0;
  std::int64_t moved = 0;
  void save(Package& out) const {
    out.meta["fired"] = fired;
    out.meta["moved"] = moved;
  }
  void load(const Package& in) {
    fired = in.meta.at("fired").get<std::int64_t>();
    moved = in.meta.at("moved").get<std::int64_t>();
  }
};

}  // namespace

struct ImageEma final : Node {
  State<FlowNet> average{this, "average"};
  State<AverageCount> count{this, "count"};
  Reads<Generator> generator{this, "generator", "what is followed, after its update"};
  Output<Generator> averaged{this, "generator", "the average, to sample from and to measure"};
  Param<double> decay{
      this, "decay", 0.9, "largest share of the old average that stays", {.min = 0, .max = 1}};
  Param<std::int64_t> every{
      this, "every", 8, "iterations between two moves", {.min = 1, .unit = "iterations"}};
  Synonyms words{this, {"exponential moving average", "EMA", "Polyak"}};
  Doc doc{this,
          "average = d average + (1 - d) generator with d = min((1 + k) / (10 + k), decay) at the "
          "k-th move, k = 0, 1, ...; it starts as a copy."};

  void run(Step& step) const override {
    const FlowNet& source = step.read<FlowNet>(generator);
    const auto mean = step.shared(average, [&] { return source.copy(); });
    AverageCount& now = step[count];
    if (now.fired++ % every() == 0) {
      const auto k = static_cast<double>(now.moved++);
      const double stays = std::min((1 + k) / (10 + k), decay());
      for (const auto& [name, weight] : source.weights) {
        mean->weights.at(name).lerp_(weight, 1 - stays);
      }
      mean->set_weight_version(mean->weight_version() + 1);
    }
    step[averaged] = Generator{{mean}};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ImageEma, "Moving average of a generator", "doi:10.1137/0330046")
