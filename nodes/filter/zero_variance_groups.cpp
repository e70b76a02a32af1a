#include "engine/core/registry.h"
#include "nodes/filter/select.h"

namespace rewardloom {

struct ZeroVarianceGroups final : GroupFilter {
  Param<double> smallest_spread{this,
                                "smallest_spread",
                                0.0,
                                "groups whose standard deviation is not above it go",
                                {.min = 0}};
  Synonyms words{this, {"DAPO", "dynamic sampling", "no signal", "group filter"}};
  Doc doc{
      this,
      "Drops the groups whose rewards are all equal: relative to their mean they say nothing. Rows "
      "that stay keep their order and become a batch of their own. If no group stays, all do, with "
      "an alarm. Metric kept_groups: the share that stays."};

  bool keeps(const Moments& moments) const override {
    return !moments.constant && moments.spread(false) > smallest_spread();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ZeroVarianceGroups, "Drop groups without variance", "arXiv:2503.14476")
