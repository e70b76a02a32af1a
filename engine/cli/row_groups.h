// Tables whose rows are named by paths of the graph: under a heading with the node, so that the end
// of a name, which tells rows apart, is never lost.
#pragma once
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace rewardloom::cli {

struct NamedRow {
  std::string place;  ///< a node's path; may be empty
  std::string leaf;   ///< the name below that place
  std::string name;   ///< both
};

/// A metric's place is the longest name of a node that it begins with, else all but its last part.
NamedRow metric_row_name(const std::string& metric, const std::set<std::string>& nodes);

/// One table's names, and whether they stand under headings.
class RowGroups {
 public:
  /// `most`: columns that there are for names.
  RowGroups(std::vector<NamedRow> rows, std::size_t most);
  std::size_t column() const { return column_; }

  /// Places in natural order, rows in the order they came in. `cells` are of each row, with what
  /// stands between them and the name.
  std::string text(const std::vector<std::string>& cells) const;

 private:
  std::vector<NamedRow> rows_;
  std::size_t column_ = 0;
  bool plain_ = false;  ///< all names fit, without any heading
};

}  // namespace rewardloom::cli
