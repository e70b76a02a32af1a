// A reader of chains as parameters: the same in every node that has one.
#pragma once
#include "engine/core/node.h"
#include "engine/core/random.h"
#include "engine/core/step.h"
#include "nodes/world/chain_reader.h"

namespace rewardloom {

/// What a reader sees, as parameters of the nodes that read chains.
struct ChainReaderParams {
  explicit ChainReaderParams(Node* node)
      : modulus(node, "modulus", 5, "that of the chains", {.min = 2, .max = 10}),
        misread(node, "misread", 0.1,
                "chance that the model sees a line, or the final number, the wrong way",
                {.min = 0, .max = 0.5}),
        number(node, "reader", 0, "models with the same number misread the same") {}

  /// The same mistakes for the same seed and number.
  ChainReader reader(const Step& step) const {
    return {mix(step.random_key().seed, static_cast<std::uint64_t>(number())), misread()};
  }

  Param<std::int64_t> modulus;
  Param<double> misread;
  Param<std::int64_t> number;
};

}  // namespace rewardloom
