// Which models of a grid of encoders x fine-tunings stand together.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class EnsembleGroup { single, fine_tuning, pretraining };
constexpr auto choices(EnsembleGroup) {
  return std::to_array<Choice<EnsembleGroup>>({
      {EnsembleGroup::single, "single", "ensemble g is the one model of encoder g and seed g"},
      {EnsembleGroup::fine_tuning, "fine_tuning",
       "ensemble g shares encoder g: one model per fine-tuning seed"},
      {EnsembleGroup::pretraining, "pretraining",
       "ensemble g shares fine-tuning seed g: one model per encoder"},
  });
}

/// Models (encoder * fine_tunings + seed) of ensemble `index`, which counts on from the start where
/// there are fewer encoders or seeds.
std::vector<std::int64_t> ensemble_members(EnsembleGroup group, std::int64_t encoders,
                                           std::int64_t fine_tunings, std::int64_t index);

}  // namespace rewardloom
