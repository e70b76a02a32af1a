// All that differs between the LibTorch versions that RewardLoom builds against (1.13 to 2.11).
#pragma once
#include <c10/util/Exception.h>
#include <torch/version.h>

#include <string>

#ifdef REWARDLOOM_WITH_CUDA
#include <ATen/cuda/CUDAGraph.h>
#endif

namespace rewardloom {

inline constexpr const char* kLibTorchVersion = TORCH_VERSION;

/// The first line of a tensor library's error, without its stack.
inline std::string message_of(const c10::Error& error) {
  const std::string text = error.what_without_backtrace();
  return text.substr(0, text.find('\n'));
}

#ifdef REWARDLOOM_WITH_CUDA
/// Other threads may use the device meanwhile; up to LibTorch 2.0 they may not.
inline void begin_capture(at::cuda::CUDAGraph& graph) {
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 1)
  graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal);
#else
  graph.capture_begin();
#endif
}
#endif

}  // namespace rewardloom
