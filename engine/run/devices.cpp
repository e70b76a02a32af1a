#include "engine/run/devices.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "engine/core/problem.h"

namespace rewardloom {

c10::Device parse_device(const std::string& text) {
  std::optional<c10::Device> device;
  try {
    device = c10::Device(text);
  } catch (const c10::Error&) {
    throw Failure("device", fmt::format("\"{}\" is no device", text),
                  "use cpu, cuda or cuda:0, cuda:1, ...");
  }
  if (device->is_cpu()) return *device;
  if (!c10::impl::hasDeviceGuardImpl(device->type())) {
    throw Failure("device", fmt::format("there is no {} in this LibTorch", text),
                  "use --device cpu, or build against a LibTorch with that device");
  }
  const c10::impl::VirtualGuardImpl guard(device->type());
  const int count = guard.deviceCount();
  const int index = device->has_index() ? device->index() : 0;
  if (index >= count) {
    throw Failure(
        "device",
        fmt::format("{} was asked for, but this machine has {} of that kind", text, count),
        "use --device cpu");
  }
  return c10::Device(device->type(), static_cast<c10::DeviceIndex>(index));
}

std::optional<c10::Stream> DeviceStreams::stream_for(c10::Device device) {
  if (device.is_cpu()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  Lane& lane = lanes_[device.str()];
  const c10::impl::VirtualGuardImpl guard(device.type());
  if (lane.streams.size() < kStreamsPerDevice) {
    lane.streams.push_back(guard.getStreamFromGlobalPool(device));
    return lane.streams.back();
  }
  return lane.streams[lane.next++ % kStreamsPerDevice];
}

std::shared_ptr<Ready> record_ready(const c10::Stream& stream) {
  c10::Event event(stream.device_type());
  event.record(stream);
  return std::make_shared<Ready>(std::move(event));
}

}  // namespace rewardloom
