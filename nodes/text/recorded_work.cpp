#include "nodes/text/recorded_work.h"

#include <utility>

#ifdef REWARDLOOM_WITH_CUDA
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "engine/run/torch_version.h"
#endif

namespace rewardloom {
namespace {

class CalledWork final : public RecordedWork {
 public:
  explicit CalledWork(std::function<void()> work) : work_(std::move(work)) { work_(); }
  void repeat() override { work_(); }

 private:
  std::function<void()> work_;
};

#ifdef REWARDLOOM_WITH_CUDA

void wait_for(const c10::cuda::CUDAStream& waiting, const c10::cuda::CUDAStream& other) {
  at::cuda::CUDAEvent done;
  done.record(other);
  done.block(waiting);
}

/// CUDA graphs: one launch in place of one for each kernel.
class CudaWork final : public RecordedWork {
 public:
  CudaWork(c10::Device device, const std::function<void()>& work) : device_(device) {
    const c10::cuda::CUDAGuard on_device(device);
    const auto current = c10::cuda::getCurrentCUDAStream(device.index());
    const auto own = c10::cuda::getStreamFromPool(false, device.index());  // the default one cannot
    wait_for(own, current);
    {
      const c10::cuda::CUDAStreamGuard on_stream(own);
      work();  // what libraries set up at their first call must not be recorded
      begin_capture(graph_);
      work();
      graph_.capture_end();
    }
    wait_for(current, own);
  }
  void repeat() override {
    const c10::cuda::CUDAGuard on_device(device_);
    graph_.replay();
  }

 private:
  c10::Device device_;
  at::cuda::CUDAGraph graph_;
};

#endif

}  // namespace

#ifdef REWARDLOOM_WITH_CUDA

bool can_record(c10::Device device) { return device.is_cuda(); }

std::unique_ptr<RecordedWork> record(c10::Device device, std::function<void()> work) {
  if (!can_record(device)) return std::make_unique<CalledWork>(std::move(work));
  return std::make_unique<CudaWork>(device, work);
}

#else

bool can_record(c10::Device) { return false; }

std::unique_ptr<RecordedWork> record(c10::Device, std::function<void()> work) {
  return std::make_unique<CalledWork>(std::move(work));
}

#endif

}  // namespace rewardloom
