// The branches of a run side by side: what each of them did to the metrics that the run is for.
#pragma once
#include <cstddef>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "engine/cli/run_overview.h"

namespace rewardloom::cli {

struct Comparison {
  std::string text;             ///< empty: there is nothing to be compared
  std::size_t lines = 0;        ///< besides headings
  std::set<std::string> shown;  ///< names of the metrics in it
};

/// Proxy beside gold, a line per place with the iteration since which proxy is suspect of rising at
/// gold's cost; then the metrics that branches have in common, a line per branch. At most `lines`
/// lines besides their headings: suspects stay, the rest is counted.
Comparison compared(const std::vector<MetricSeries>& metrics, const std::string& about,
                    std::size_t width, std::size_t lines = std::numeric_limits<std::size_t>::max());
/// The same of a run that may be long: reads no more than it needs.
Comparison compared_run(const std::filesystem::path& folder, std::size_t width, std::size_t lines);

/// The means of recorded rewards as metrics, named after their ports.
std::vector<MetricSeries> reward_means(const std::vector<ProbeSeries>& probes);

}  // namespace rewardloom::cli
