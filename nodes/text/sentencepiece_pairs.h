// Byte-pair merging as SentencePiece does it: by the score of what two symbols make.
#pragma once
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

namespace rewardloom {

/// A stretch of text; stretches of one text lie side by side.
struct MergeSymbol {
  std::string_view text;
  bool frozen = false;  ///< is never merged
};
struct MergeScore {
  float score;
  bool unused;  ///< taken apart again at the end
};

/// Merges the neighbours whose union scores highest, the leftmost first, until no union has a
/// score; time grows as n log n. The symbols that are left, in order.
std::vector<std::string_view> merged(
    std::vector<MergeSymbol> symbols,
    const std::function<std::optional<MergeScore>(std::string_view)>& score);

}  // namespace rewardloom
