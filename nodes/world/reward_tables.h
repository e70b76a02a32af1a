// Worlds in which everything is known: prompts, candidate answers, what they are truly worth, and
// what a reward model that errs outside its training range says of them.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "engine/core/random.h"

namespace rewardloom {

struct TableWorldOptions {
  std::int64_t prompts = 200;
  std::int64_t candidates = 64;
  std::int64_t properties = 2;
  double correlation = -0.3;      ///< of the properties' true values
  double trained_up_to = 1.0;     ///< true value up to which the reward models were trained
  double misspecification = 1.5;  ///< error per unit of true value beyond it
  double noise = 0.1;             ///< error everywhere
  double tail = 3;                ///< degrees of freedom of the error's Student t
};

struct TableWorld {
  at::Tensor prior;               ///< [X,Y] double, rows sum to 1
  std::vector<at::Tensor> truth;  ///< per property [X,Y] double: what an answer is worth
  std::vector<at::Tensor> proxy;  ///< per property [X,Y] double: what its reward model says
};

/// True values are normal with the given correlation; a proxy is the truth plus noise plus, above
/// `trained_up_to`, a heavy-tailed error that grows with the distance.
TableWorld make_table_world(const TableWorldOptions& options, const Random& random);

}  // namespace rewardloom
