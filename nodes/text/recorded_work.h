// Work of a device that is recorded once and then repeated as a whole, without the host's part.
#pragma once
#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace rewardloom {

class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Does the same kernels on the same memory, behind what the calling thread's stream has to do.
  virtual void repeat() = 0;
};

/// Whether work of this device can be recorded: on a GPU, where LibTorch was built with CUDA.
bool can_record(c10::Device device);

/// Does `work` once and records it: its operators must find their operands at the same addresses
/// each time, wait for nothing and read nothing back. Where nothing can be recorded, repeating is
/// calling it again.
std::unique_ptr<RecordedWork> record(c10::Device device, std::function<void()> work);

}  // namespace rewardloom
