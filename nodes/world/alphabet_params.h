// The letters of a token world as parameters, the same in every node that reads or writes them.
#pragma once
#include "engine/core/node.h"
#include "nodes/world/token_world.h"

namespace rewardloom {

struct AlphabetParams {
  explicit AlphabetParams(Node* node)
      : common(node, "common", 12, "common tokens: a, b, ...", {.min = 1, .max = 26}),
        rare(node, "rare", 8, "rare tokens: A, B, ...", {.min = 0, .max = 26}) {}

  TokenAlphabet operator()() const { return {common(), rare()}; }

  Param<std::int64_t> common, rare;
};

}  // namespace rewardloom
