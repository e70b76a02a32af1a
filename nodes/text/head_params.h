// The parameters of nodes that make a model with a score head.
#pragma once
#include <array>

#include "engine/core/node.h"
#include "nodes/text/language_model.h"

namespace rewardloom {

enum class HeadInit { normal, zeros };
constexpr auto choices(HeadInit) {
  return std::to_array<Choice<HeadInit>>({
      {HeadInit::normal, "normal", "drawn from the config's initializer_range"},
      {HeadInit::zeros, "zeros", "every score is 0 at first"},
  });
}

constexpr auto choices(TrainedPart) {
  return std::to_array<Choice<TrainedPart>>({
      {TrainedPart::all, "all", "every weight, or the adapters and the head where there are any"},
      {TrainedPart::head, "head", "the head alone, on a frozen trunk"},
  });
}

struct HeadParams {
  explicit HeadParams(Node* node)
      : init(node, "head_init", HeadInit::normal, "a head that the folder does not hold"),
        train(node, "train", TrainedPart::all, "what an optimizer changes") {}

  NewHead new_head(std::uint64_t seed) const {
    return {init() == HeadInit::zeros, {seed, hash_name("weights"), 0}};
  }

  Param<HeadInit> init;
  Param<TrainedPart> train;
};

}  // namespace rewardloom
