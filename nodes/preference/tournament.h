// From pairwise comparisons inside a group to ranks (Zhang et al. 2026, ArenaRL, arXiv:2601.06487).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "engine/core/node.h"

namespace rewardloom {

enum class Topology { anchor, round_robin, seeded_single };
constexpr auto choices(Topology) {
  return std::to_array<Choice<Topology>>({
      {Topology::anchor, "anchor", "everyone against one member: N - 1 comparisons"},
      {Topology::round_robin, "round_robin", "everyone against everyone: N (N - 1) / 2"},
      {Topology::seeded_single, "seeded_single",
       "single elimination, seeded by a round against the anchor: 2 N - 2"},
  });
}

/// Scores of players i and j, i shown first.
using PairJudge = std::function<std::pair<double, double>(std::size_t i, std::size_t j)>;

struct TournamentOptions {
  Topology topology = Topology::seeded_single;
  std::size_t anchor = 0;
  double epsilon = 1e-6;
};

struct TournamentResult {
  std::vector<double> rewards;     ///< [N] rank rewards, 1 the best, 0 the worst
  std::vector<double> advantages;  ///< [N] (reward - mean) / (sample std + epsilon)
  std::int64_t comparisons = 0;    ///< pairs that were judged
};

/// Plays a tournament of `players` members; the judge is asked for as many pairs as the topology
/// needs and no more. On equal scores the one shown first advances, a round robin gives both a
/// half. anchor and round_robin: players of equal score share the better rank, reward = (worst rank
/// - rank) / (worst rank - 1), all 0 if everybody is equal. seeded_single: reward = 1 - place / (N
/// - 1), places by survival, then by mean points. Failure `too-few` for less than two players,
/// `bad-anchor`.
TournamentResult play_tournament(std::size_t players, const PairJudge& judge,
                                 const TournamentOptions& options);

/// Players in bracket order, neighbours meet: best seed against worst, so that the best two meet in
/// the final. points [N]: mean points of each; equal ones are seeded in their order.
std::vector<std::int64_t> seeded_bracket(const std::vector<double>& points);

}  // namespace rewardloom
