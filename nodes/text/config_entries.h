// The entries that the config of a new language model may have.
#pragma once
#include "engine/core/json.h"

namespace rewardloom {

/// As a condition of a rule (engine/graph/parameters.h): every entry of a config.json that
/// model_config() reads, with what it must be, and those that other programs write.
Json config_entries();

}  // namespace rewardloom
