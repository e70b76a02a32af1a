// What a reader of limited care sees in a solution of a chain, and the two reward models that are
// fitted to it. Toy counterparts of the models that RewardMATH compares (arXiv:2410.01729).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "nodes/world/chains.h"

namespace rewardloom {

/// Reader `seed` sees each of its verdicts turned round with probability `misread`: always the same
/// ones in the same text.
struct ChainReader {
  std::uint64_t seed = 0;
  double misread = 0;
};

struct ChainReading {
  std::vector<bool> lines;  ///< each follows from the line before and the question's next operator
  bool final = false;       ///< the number behind # is the last line's, after all operators
  bool terse = false;       ///< no line is written in full

  /// Whether everything holds up to step k: lines, then the final number.
  bool holds_until(std::size_t step) const;
  std::size_t steps() const { return lines.size() + 1; }
};

ChainReading read_solution(const ModularChain& chain, std::string_view text,
                           const ChainReader& reader);

/// Share of lines that hold, whether all do, whether the final number does, lines per operator,
/// terse.
using ChainFeatures = std::array<double, 5>;
ChainFeatures chain_features(const ModularChain& chain, const ChainReading& reading);

/// Weights w that minimise sum log(1 + exp(-w . d)) + ridge / 2 |w|^2 over the differences d of
/// chosen and rejected: a Bradley-Terry model, by gradient descent. No pairs: zeros.
ChainFeatures fit_linear_bradley_terry(const std::vector<ChainFeatures>& differences, double ridge);

}  // namespace rewardloom
