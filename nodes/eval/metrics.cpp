#include <fmt/format.h>

#include <set>

#include "engine/core/registry.h"
#include "engine/core/step.h"

namespace rewardloom {

struct MetricsSink final : Node {
  Inputs<Metrics> metrics{this, "metrics", "numbers to be recorded"};
  Output<Metrics> merged{this, "metrics", "all of them in one"};
  TraitsMember traits{this, {.effect = true, .evaluates = true}};
  Synonyms words{this, {"log", "record", "report"}};
  Doc doc{
      this,
      "Records every number under this node's name, in the order of the edges; a name that came "
      "before is followed by _2, _3, ... Used to bring what a container measures into the run."};

  void run(Step& step) const override {
    const auto parts = step[metrics];
    Metrics out;
    std::set<std::string> taken;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      for (std::size_t i = 0; i < parts[p].names.size(); ++i) {
        std::string name = parts[p].names[i];
        for (int n = 2; !taken.insert(name).second; ++n) {
          name = fmt::format("{}_{}", parts[p].names[i], n);
        }
        step.metric(name, parts[p].values[i]);
        out.add(std::move(name), parts[p].values[i]);
      }
    }
    step[merged] = std::move(out);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(MetricsSink, "Record metrics", "")
