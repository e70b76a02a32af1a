// All that differs between the LibTorch versions that RewardLoom builds against (1.13 to 2.11).
#pragma once
#include <c10/util/Exception.h>
#include <torch/version.h>

#include <string>

namespace rewardloom {

inline constexpr const char* kLibTorchVersion = TORCH_VERSION;

/// The first line of a tensor library's error, without its stack.
inline std::string message_of(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

}  // namespace rewardloom
