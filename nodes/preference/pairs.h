// Pairs of a group's rows, and who is labelled the better one.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/core/node.h"
#include "engine/core/random.h"

namespace rewardloom {

enum class PairChoice { best_worst, random, all };
constexpr auto choices(PairChoice) {
  return std::to_array<Choice<PairChoice>>({
      {PairChoice::best_worst, "best_worst", "the highest and the lowest reward of a group"},
      {PairChoice::random, "random", "per_group pairs of each group, drawn without repetition"},
      {PairChoice::all, "all", "every pair of a group"},
  });
}

enum class PairLabel { reward, sampled };
constexpr auto choices(PairLabel) {
  return std::to_array<Choice<PairLabel>>({
      {PairLabel::reward, "reward", "the higher reward is preferred"},
      {PairLabel::sampled, "sampled",
       "the first is preferred with probability sigmoid(gap / temperature) "
       "(Bradley-Terry)"},
  });
}

struct PairOptions {
  PairChoice pairs = PairChoice::best_worst;
  std::int64_t per_group = 1;  ///< only for random
  double min_gap = 0;  ///< pairs with a gap of at most this are left out (sampled: below it)
  PairLabel label = PairLabel::reward;
  double temperature = 1;
  double noise = 0;  ///< probability with which a label is turned around
};

struct LabelledPair {
  std::int64_t chosen = 0;
  std::int64_t rejected = 0;
  bool flipped = false;  ///< against the rewards
};

/// The pairs among `rows` of one group; scores [N] by row. Of equal rewards the
/// earlier row counts as the higher. All draws come from `random`, in a fixed
/// order.
std::vector<LabelledPair> labelled_pairs(std::span<const double> scores,
                                         std::span<const std::int64_t> rows,
                                         const PairOptions& options, Random random);

}  // namespace rewardloom
