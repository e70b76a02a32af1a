// What a terminal says of a run's rewards beyond their means: proxy against gold, and groups
// without signal.
#pragma once
#include <string>

#include "engine/cli/run_overview.h"

namespace rewardloom::cli {

/// Each pair of a trained and a measured reward, with the iteration of gold's peak and whether
/// proxy went on rising while gold fell. Empty where a run has no such pair.
std::string proxy_gold_text(const RunOverview& run, std::size_t width);
Json proxy_gold_json(const RunOverview& run);

/// For each reward with groups: the spread within them, and the share of those without any.
std::string groups_text(const RunOverview& run);
Json groups_json(const RunOverview& run);

/// Whether a recorded component is about groups, not about rows.
bool is_group_spread(const ProbeSeries& series);

}  // namespace rewardloom::cli
