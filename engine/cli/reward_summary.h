// What a terminal says of a run's rewards beyond their means: proxy against gold, and groups
// without signal.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/cli/run_overview.h"
#include "engine/io/proxy_gold.h"

namespace rewardloom::cli {

/// A trained and a measured reward of one place.
struct ProxyAndGold {
  ProxyGoldNames names;
  const MetricSeries* proxy = nullptr;
  const MetricSeries* gold = nullptr;
  std::optional<Overoptimisation> finding;
  /// Whether both are called what they are, not only guessed from other words.
  bool certain() const;
};
/// The pairs that are as certain as the most certain one; they point into `metrics`.
std::vector<ProxyAndGold> proxy_gold_in(const std::vector<MetricSeries>& metrics);

/// Each pair of a trained and a measured reward, with the iteration of gold's peak and whether
/// proxy went on rising while gold fell. Empty where a run has no such pair.
std::string proxy_gold_text(const RunOverview& run, std::size_t width);
Json proxy_gold_json(const RunOverview& run);

/// For each reward with groups: the spread within them, and the share of those without any.
std::string groups_text(const RunOverview& run, std::size_t width);
Json groups_json(const RunOverview& run);

/// Whether a recorded component is about groups, not about rows.
bool is_group_spread(const ProbeSeries& series);

}  // namespace rewardloom::cli
