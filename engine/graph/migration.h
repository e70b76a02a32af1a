// How graph files of older versions become current ones: a table of renamings, no code per version.
#pragma once
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

enum class MigrationKind {
  rename_key,        ///< a key of the file's top level
  rename_node_key,   ///< a key of every node
  rename_type,       ///< a node type
  rename_port,       ///< an input or output of nodes of `type`, and every reference to it
  rename_parameter,  ///< a parameter of nodes of `type`
};

struct MigrationStep {
  MigrationKind kind;
  std::string from;
  std::string to;
  std::string type;
};

/// The steps from version `from` to the next.
struct Migration {
  int from = 0;
  std::vector<MigrationStep> steps;
};

/// Those of this program, oldest first. Version 1 is the first, so there are none yet.
const std::vector<Migration>& graph_migrations();

/// Applies what leads from version `from` to kGraphFormat. Throws Failure format-version where the
/// table does not reach back so far.
void migrate(Json& graph, int from, const std::vector<Migration>& migrations);

}  // namespace rewardloom
