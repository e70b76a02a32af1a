#include "engine/cli/row_groups.h"

#include <algorithm>
#include <numeric>

#include "engine/cli/telling.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

constexpr std::size_t kLeastColumn = 16;
constexpr std::size_t kLongestPlain = 44;  // longer names repeat too much of each other
constexpr std::size_t kIndent = 2;

}  // namespace

NamedRow metric_row_name(const std::string& metric, const std::set<std::string>& nodes) {
  const std::vector<std::string> parts = path_parts(metric);
  std::size_t taken = parts.size() - 1;
  for (std::size_t count = parts.size() - 1; count > 0; --count) {
    if (!nodes.contains(joined_parts(parts, 0, count))) continue;
    taken = count;
    break;
  }
  return {joined_parts(parts, 0, taken), joined_parts(parts, taken, parts.size() - taken), metric};
}

RowGroups::RowGroups(std::vector<NamedRow> rows, std::size_t most) : rows_(std::move(rows)) {
  most = std::max(most, kLeastColumn);
  std::size_t whole = 8;
  std::size_t below = 8;
  for (const NamedRow& row : rows_) {
    whole = std::max(whole, text_width(row.name));
    below = std::max(below, text_width(row.leaf) + (row.place.empty() ? 0 : kIndent));
  }
  plain_ = whole <= std::min(most, kLongestPlain);
  column_ = plain_ ? whole : std::min(below, most);
}

std::string RowGroups::text(const std::vector<std::string>& cells) const {
  std::vector<std::size_t> order(rows_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return natural_less(rows_[a].place, rows_[b].place);
  });
  std::string out;
  for (std::size_t begin = 0; begin < order.size();) {
    const std::string& place = rows_[order[begin]].place;
    std::size_t end = begin;
    bool fits = true;
    for (; end < order.size() && rows_[order[end]].place == place; ++end) {
      fits &= text_width(rows_[order[end]].name) <= column_;
    }
    // A heading for a single row only where its name needs one.
    const bool nested = !plain_ && place.find('/') != std::string::npos && end - begin > 1;
    const bool headed = !place.empty() && (!fits || nested);
    if (headed) out += place + "\n";
    for (; begin < end; ++begin) {
      const NamedRow& row = rows_[order[begin]];
      const std::size_t indent = headed ? kIndent : 0;
      out +=
          std::string(indent, ' ') +
          pad_right(cut_middle(headed ? row.leaf : row.name, column_ - indent), column_ - indent) +
          cells[order[begin]] + "\n";
    }
  }
  return out;
}

}  // namespace rewardloom::cli
