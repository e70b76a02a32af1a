#include "nodes/text/prefix_index.h"

namespace rewardloom {

PrefixIndex::PrefixIndex(std::vector<Entry> entries) {
  std::erase_if(entries, [](const Entry& e) { return e.first.empty(); });
  // std::string compares its bytes without sign, as the index by lead byte needs it.
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  for (Entry& entry : entries) {
    if (!entries_.empty() && entries_.back().first == entry.first) entries_.pop_back();
    entries_.push_back(std::move(entry));
  }
  for (const Entry& entry : entries_) ++starts_[static_cast<unsigned char>(entry.first[0]) + 1U];
  for (std::size_t i = 1; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
}

}  // namespace rewardloom
