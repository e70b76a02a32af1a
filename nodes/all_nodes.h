// Registers every node type under nodes/. The function is generated from the folder's content.
#pragma once
#include "engine/core/registry.h"

namespace rewardloom {
void register_all_nodes(Registry& registry);
}
