#include "engine/core/registry.h"
#include "nodes/filter/select.h"

namespace rewardloom {

struct Difficulty final : GroupFilter {
  Param<double> low{this, "low", 0.1, "smallest mean reward of a group that stays"};
  Param<double> high{this, "high", 0.9, "largest mean reward of a group that stays"};
  Rule ordered{this,
               {Json::object(),
                {{"low", {{"max", "$high"}}}},
                "no mean reward lies within these bounds",
                "set low below high"}};
  Synonyms words{this, {"curriculum", "pass rate", "too easy", "too hard", "group filter"}};
  Doc doc{
      this,
      "Drops the groups whose mean reward lies outside low..high: prompts that are too hard or too "
      "easy by now. Rows that stay keep their order and become a batch of their own. If no group "
      "stays, all do, with an alarm. Metric kept_groups: the share that stays."};

  bool keeps(const Moments& moments) const override {
    return moments.mean >= low() && moments.mean <= high();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Difficulty, "Drop groups that are too easy or too hard", "")
