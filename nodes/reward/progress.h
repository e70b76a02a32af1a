// Progress per frame from relative readings. Robo-Dopamine, arXiv:2512.23703.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>

#include "engine/core/node.h"

namespace rewardloom {

enum class ProgressMode { incremental, forward, backward };
constexpr auto choices(ProgressMode) {
  return std::to_array<Choice<ProgressMode>>({
      {ProgressMode::incremental, "incremental",
       "from frame to frame: p + (1 - p) h for h >= 0, else p + p h"},
      {ProgressMode::forward, "forward", "from the first frame: h"},
      {ProgressMode::backward, "backward", "from the goal: 1 + h"},
  });
}

struct ProgressReadings {
  at::Tensor progress;  ///< [N,S]
  at::Tensor hop;       ///< [N,S] the reading (incremental), else the change of progress
};

/// readings [N,S], hops in -1..1. With `clamp` progress is held in 0..1 after each frame.
ProgressReadings progress_of(const at::Tensor& readings, ProgressMode mode, bool clamp);

}  // namespace rewardloom
