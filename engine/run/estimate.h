// The memory and time of a graph before it runs, from sizes handed along its edges.
#pragma once
#include <string>
#include <vector>

#include "engine/core/estimate.h"
#include "engine/core/registry.h"
#include "engine/graph/plan.h"

namespace rewardloom {

struct EstimateOptions {
  int threads = 1;
  std::string device = "cpu";  ///< of nodes without a placement
};

struct NodeEstimate {
  std::string node;
  std::string type;
  std::string device;
  NodeCost cost;
  double firings = 1;  ///< per iteration of the run
  double flop = 0;     ///< of one firing
  double seconds = 0;  ///< of one firing's counted work; NaN where its rate cannot be measured here
  std::string problem;  ///< why nothing is known of it; empty: all is well
};

struct GraphEstimate {
  std::vector<NodeEstimate> nodes;  ///< those that cost something, or whose cost is not known
  double program = 0;               ///< bytes of a run whose graph needs none
  double kept = 0;                  ///< bytes on the CPU that live as long as the run
  double checkpoint = 0;  ///< bytes of the states' copies that a checkpoint is written from
  double transient = 0;   ///< most bytes on the CPU beside these at any time
  double available = 0;   ///< bytes that this machine can give, the program's own included
  double flop = 0;        ///< of an iteration
  double seconds = 0;     ///< of an iteration; nodes that run side by side are added up
  double peak() const { return program + kept + checkpoint + transient; }
};

/// Fires the sources of rows once; reads no weights. What a node cannot say stands in its
/// `problem`.
GraphEstimate estimate_graph(const Plan& plan, const Registry& registry,
                             const EstimateOptions& options);

}  // namespace rewardloom
