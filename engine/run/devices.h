// Where nodes run: streams and events of accelerators, written on LibTorch's device-generic
// interface, so that the same code serves CUDA, other accelerators, and the CPU (which needs
// neither).
#pragma once
#include <c10/core/Device.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace rewardloom {

/// Parses "cpu", "cuda", "cuda:1"; Failure `device` if it is malformed or not there.
c10::Device parse_device(const std::string& text);

/// When work that was put on a stream is done. Shared by the readers of the values it computes.
class Ready {
 public:
  explicit Ready(c10::Event event) : event_(std::move(event)) {}
  /// Makes later work on `stream` wait, without stopping the calling thread.
  void block(const c10::Stream& stream) { event_.block(stream); }
  /// Whether the work is done; never waits.
  bool done() const { return event_.query(); }
  c10::Device device() const { return event_.device(); }

 private:
  c10::Event event_;
};

/// Gives every node on an accelerator a stream, round robin over a few per device.
class DeviceStreams {
 public:
  /// Nothing for the CPU: what runs there is done when the call returns.
  std::optional<c10::Stream> stream_for(c10::Device device);

 private:
  static constexpr std::size_t kStreamsPerDevice = 4;
  struct Lane {
    std::vector<c10::Stream> streams;
    std::size_t next = 0;
  };
  std::mutex mutex_;
  std::map<std::string, Lane> lanes_;
};

/// Records an event behind the work that is on `stream` now.
std::shared_ptr<Ready> record_ready(const c10::Stream& stream);

}  // namespace rewardloom
