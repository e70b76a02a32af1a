// The version that run folders, checkpoints and `rewardloom --version` name.
#pragma once

namespace rewardloom {
inline constexpr const char* kVersion = "0.1.0";
}
