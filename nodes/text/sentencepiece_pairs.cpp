#include "nodes/text/sentencepiece_pairs.h"

#include <cstdint>
#include <queue>
#include <unordered_map>
#include <utility>

namespace rewardloom {

namespace {

class Merging {
 public:
  using Score = std::function<std::optional<MergeScore>(std::string_view)>;
  Merging(std::vector<MergeSymbol> symbols, const Score& score)
      : symbols_(std::move(symbols)), score_(score), links_(symbols_.size()) {
    for (std::size_t i = 0; i < links_.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      links_[i] = {at - 1, i + 1 < links_.size() ? at + 1 : -1};
    }
    for (std::size_t i = 0; i + 1 < links_.size(); ++i) consider(static_cast<std::int64_t>(i));
  }

  std::vector<std::string_view> run() {
    while (!queue_.empty()) {
      const Pair best = queue_.top();
      queue_.pop();
      MergeSymbol& left = symbols_[best.left];
      MergeSymbol& right = symbols_[best.right];
      // What was queued may have been merged away since.
      const bool stale = left.text.empty() || right.text.empty() ||
                         left.text.size() + right.text.size() != best.size;
      if (stale) continue;
      left.text = {left.text.data(), best.size};
      right.text = {};
      const std::int64_t next = links_[best.right].next;
      links_[best.left].next = next;
      if (next >= 0)
        links_[static_cast<std::size_t>(next)].previous = static_cast<std::int64_t>(best.left);
      consider(links_[best.left].previous);
      consider(static_cast<std::int64_t>(best.left));
    }
    std::vector<std::string_view> out;
    for (std::int64_t i = symbols_.empty() ? -1 : 0; i >= 0;
         i = links_[static_cast<std::size_t>(i)].next) {
      add_used(symbols_[static_cast<std::size_t>(i)].text, out);
    }
    return out;
  }

 private:
  struct Link {
    std::int64_t previous, next;
  };
  struct Pair {
    float score;
    std::size_t left, right, size;
    bool operator<(const Pair& o) const {
      return score < o.score || (score == o.score && left > o.left);
    }
  };

  void consider(std::int64_t at) {
    if (at < 0 || links_[static_cast<std::size_t>(at)].next < 0) return;
    const auto left = static_cast<std::size_t>(at);
    const auto right = static_cast<std::size_t>(links_[left].next);
    const MergeSymbol &a = symbols_[left], &b = symbols_[right];
    if (a.frozen || b.frozen) return;
    const std::string_view joined(a.text.data(), a.text.size() + b.text.size());
    const auto score = score_(joined);
    if (!score) return;
    queue_.push({score->score, left, right, joined.size()});
    if (score->unused) halves_[joined] = {a.text, b.text};
  }

  /// A piece that is not used becomes the two that it was made from, and so on.
  void add_used(std::string_view piece, std::vector<std::string_view>& out) const {
    std::vector<std::string_view> pending{piece};
    while (!pending.empty()) {
      const std::string_view text = pending.back();
      pending.pop_back();
      const auto found = halves_.find(text);
      if (found == halves_.end()) {
        out.push_back(text);
        continue;
      }
      pending.push_back(found->second.second);
      pending.push_back(found->second.first);
    }
  }

  std::vector<MergeSymbol> symbols_;
  const Score& score_;
  std::vector<Link> links_;
  std::priority_queue<Pair> queue_;
  std::unordered_map<std::string_view, std::pair<std::string_view, std::string_view>> halves_;
};

}  // namespace

std::vector<std::string_view> merged(
    std::vector<MergeSymbol> symbols,
    const std::function<std::optional<MergeScore>(std::string_view)>& score) {
  return Merging(std::move(symbols), score).run();
}

}  // namespace rewardloom
