// Who waits for whom: order within each level, and the state behind handles with its readers and
// writers.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "engine/graph/flat.h"

namespace rewardloom {

/// One piece of state as one level uses it; flat nodes in topological order.
struct HandleUse {
  int handle = -1;
  std::vector<int> readers;
  std::vector<int> writers;
};

/// Positions count the nodes of a level in the order of the file.
struct LevelFlow {
  std::vector<std::vector<int>> successors;  ///< positions; values and order together, each once
  std::vector<int> order;                    ///< positions, topological; ties as in the file
  std::vector<std::pair<int, int>> order_edges;  ///< positions: reader before writer
  std::vector<HandleUse> handles;
};

struct Flow {
  struct Handle {
    std::string name;  ///< the output that made it
    std::string type;
    int slot = -1;
  };
  std::vector<LevelFlow> levels;
  std::vector<int> position;     ///< of each flat node in its level
  std::vector<int> slot_handle;  ///< of each slot, or -1
  std::vector<Handle> handles;
  std::vector<int>
      order;  ///< all flat nodes: sources first, bodies before their container's own place
};

/// Reports cycle, two-writers and handle-order; where a level has a cycle its order is only
/// partial.
Flow find_flow(const FlatGraph& graph, ProblemList& problems);

}  // namespace rewardloom
