// What a run ends with on a terminal.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/cli/key_metrics.h"
#include "engine/cli/run_report.h"

namespace rewardloom::cli {

struct SummaryFacts {
  std::string branches;  ///< side by side, as text; empty: there are none
  std::vector<KeyMetric> metrics;
  std::map<std::string, std::size_t> alarms;  ///< by code
  std::vector<NodeRow> nodes;
  double seconds = 0;           ///< since the run began, in this process
  std::int64_t iterations = 0;  ///< done in this process
};

std::string run_summary(const Run& run, RunEnd end, const SummaryFacts& facts);
/// "2 node-slow, 1 nothing-scored"; "none".
std::string alarm_counts(const std::map<std::string, std::size_t>& alarms);
/// "rollout 61 %, update 30 %": the nodes that took most, with their share of all nodes' time.
std::string slowest_nodes(const std::vector<NodeRow>& nodes, std::size_t limit);

}  // namespace rewardloom::cli
