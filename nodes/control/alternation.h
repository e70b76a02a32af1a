// Whose turn it is: the generator's or the discriminator's.
#pragma once
#include <array>
#include <cstdint>

#include "engine/core/node.h"

namespace rewardloom {

enum class AlternationMode { trigger, every_k, ratio };
constexpr auto choices(AlternationMode) {
  return std::to_array<Choice<AlternationMode>>({
      {AlternationMode::trigger, "trigger",
       "the discriminator's while generated images score above real ones less the margin"},
      {AlternationMode::every_k, "every_k", "the generator's in every k-th iteration alone"},
      {AlternationMode::ratio, "ratio", "`ratio` turns of the discriminator to one of the other"},
  });
}

struct AlternationOptions {
  AlternationMode mode = AlternationMode::trigger;
  std::int64_t k = 10;
  double ratio = 1;        ///< discriminator turns for each generator turn
  double margin = 0;       ///< trigger: real must lead by more than this
  bool skip_other = true;  ///< else the generator trains in every iteration
};

struct AlternationTurn {
  bool generator = true;
  bool discriminator = false;
};

/// Iteration `index` = 0, 1, ...; means of the scores of real and generated images.
AlternationTurn alternation_turn(std::int64_t index, double real, double generated,
                                 const AlternationOptions& options);

}  // namespace rewardloom
