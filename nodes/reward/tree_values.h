// Value labels of a search tree from which of its leaves are correct.
#pragma once
#include <cstdint>
#include <vector>

namespace rewardloom {

struct TreeValues {
  std::vector<double> values;                  ///< [N] 0 for the root and for nodes without a label
  std::vector<std::uint8_t> labelled;          ///< [N]
  std::vector<std::int64_t> steps_to_correct;  ///< [N] to the nearest correct leaf, that leaf
                                               ///< counted; kUnlabelled where there is none
};
inline constexpr std::int64_t kUnlabelled = 1024;

/// parent [N] (-1 for a root; a parent stands before its children), correct [N]: leaves that end
/// right. A node off every correct route takes the distance of the nearest ancestor on one, and its
/// value falls below the parent's by as much as it would have risen. Failure `bad-tree`.
/// ReST-MCTS*, Zhang et al. 2024, arXiv:2406.03816.
TreeValues tree_values(const std::vector<std::int64_t>& parent,
                       const std::vector<std::uint8_t>& correct);

}  // namespace rewardloom
