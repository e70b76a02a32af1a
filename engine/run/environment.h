// What all parts of one run share.
#pragma once
#include <c10/core/Device.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "engine/core/problem.h"

namespace rewardloom {

class Breakpoints;
class DeviceStreams;
class Recorder;
class Registry;
class RewardWatch;
class StateStore;
class Watchdog;

/// Hears of a run while it goes on; called from several threads.
class RunListener {
 public:
  virtual ~RunListener() = default;
  virtual void metric(std::int64_t iteration, const std::string& name, double value) = 0;
  virtual void problem(const Problem& problem) = 0;
};

struct Environment {
  const Registry& registry;
  StateStore& states;
  DeviceStreams& streams;
  Recorder* recorder = nullptr;  ///< null: nothing is written down
  RunListener* listener = nullptr;
  Watchdog* watchdog = nullptr;
  Breakpoints* breakpoints = nullptr;
  RewardWatch* reward_watch = nullptr;
  std::string file;  ///< the graph file, for messages and relative paths
  std::string run_dir;
  c10::Device device{c10::kCPU};       ///< of nodes without a placement
  std::atomic<bool> cancelled{false};  ///< set to make nodes give up
};

}  // namespace rewardloom
