// Which of many texts another text starts with.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rewardloom {

/// Sorted texts, narrowed down byte by byte. Empty texts are left out; of equal ones the last
/// holds.
class PrefixIndex {
 public:
  using Entry = std::pair<std::string, std::int64_t>;
  PrefixIndex() = default;
  explicit PrefixIndex(std::vector<Entry> entries);

  /// Calls visit(length, value) for each entry that `text` starts with, shortest first.
  template <class Visit>
  void each_prefix(std::string_view text, Visit visit) const {
    if (text.empty()) return;
    const auto lead = static_cast<unsigned char>(text[0]);
    std::size_t low = starts_[lead], high = starts_[lead + 1];
    for (std::size_t depth = 1; low < high; ++depth) {
      if (entries_[low].first.size() == depth) {
        visit(depth, entries_[low].second);
        ++low;
      }
      if (depth == text.size()) return;
      narrow(depth, static_cast<unsigned char>(text[depth]), low, high);
    }
  }
  struct Found {
    std::size_t length;
    std::int64_t value;
  };
  std::optional<Found> longest(std::string_view text) const {
    std::optional<Found> found;
    each_prefix(text, [&](std::size_t length, std::int64_t value) { found = {length, value}; });
    return found;
  }
  bool empty() const { return entries_.empty(); }

 private:
  /// Entries low .. high - 1 are longer than `depth` and equal up to there.
  void narrow(std::size_t depth, unsigned char byte, std::size_t& low, std::size_t& high) const {
    const auto at = [&](const Entry& e) { return static_cast<unsigned char>(e.first[depth]); };
    const auto from = entries_.begin();
    const auto first = from + static_cast<std::ptrdiff_t>(low);
    const auto last = from + static_cast<std::ptrdiff_t>(high);
    const auto begin =
        std::partition_point(first, last, [&](const Entry& e) { return at(e) < byte; });
    const auto end =
        std::partition_point(begin, last, [&](const Entry& e) { return at(e) == byte; });
    low = static_cast<std::size_t>(begin - from);
    high = static_cast<std::size_t>(end - from);
  }

  std::vector<Entry> entries_;
  std::array<std::size_t, 257> starts_{};
};

}  // namespace rewardloom
