// The recorded rollouts as a table: any number of rows, compact, filtered and sorted by index.
#pragma once
#include <QAbstractTableModel>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "editor/rewards/heat_map.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// One recorded rollout. `numbers` go by RolloutModel::names(), NaN where there is none; a value
/// per token counts as their mean.
struct Rollout {
  std::int64_t iteration = 0;
  std::int64_t row = 0;
  QString prompt, completion, reference;
  std::vector<double> numbers;
  std::string data;  ///< as recorded, JSON
};

/// `iteration < 30`, `total >= 0.5`: a name or its end after a slash.
struct NumberCondition {
  enum class Is { less, atMost, more, atLeast, equal };
  QString name;
  Is is = Is::equal;
  double value = 0;
  bool holds(double x) const;
};

struct RolloutFilter {
  QString text;  ///< in the prompt or the completion
  std::vector<NumberCondition> conditions;
  std::optional<HeatRegion> region;
  std::string component;  ///< what the region's values are of
  std::optional<std::int64_t> iteration;

  /// Conditions such as `total>0.5` out of a line, the rest as text.
  static RolloutFilter parse(const QString& line);
};

class RolloutModel final : public QAbstractTableModel {
  Q_OBJECT

 public:
  explicit RolloutModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}
  void clear();
  /// Adds rows; they are shown by the next apply().
  void add(const std::vector<SampleRow>& rows);
  void add(Rollout rollout, const std::vector<std::pair<std::string, double>>& numbers);
  /// In one step: what was recorded at or after an iteration is replaced, and the filter applied.
  void replaceFrom(std::int64_t iteration, const std::vector<SampleRow>& rows,
                   const RolloutFilter& filter);
  /// Shows what the filter lets by, in the current order.
  void apply(const RolloutFilter& filter);

  const Rollout& rollout(int row) const {
    return rollouts_.at(static_cast<std::size_t>(shown_.at(static_cast<std::size_t>(row))));
  }
  /// NaN if the rollout has no such number.
  double number(int row, const std::string& name) const;
  const std::vector<std::string>& names() const { return names_; }
  int total() const { return static_cast<int>(rollouts_.size()); }
  /// The row that shows this rollout, or -1.
  int rowOf(std::int64_t iteration, std::int64_t index) const;

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  void sort(int column, Qt::SortOrder order) override;

 private:
  enum class Kind { iteration, number, prompt, completion, reference };
  struct Column {
    Kind kind = Kind::iteration;
    std::size_t number = 0;
  };
  std::size_t nameIndex(const std::string& name);
  std::optional<std::size_t> findName(const QString& name) const;
  void layOutColumns();
  void select(const RolloutFilter& filter);
  void order();
  bool inside(const Rollout& rollout, const RolloutFilter& filter,
              std::optional<std::size_t> component) const;

  std::vector<Rollout> rollouts_;
  std::vector<int> shown_;
  std::vector<std::string> names_;
  std::map<std::string, std::size_t> indexOfName_;
  std::vector<bool> perToken_;
  std::vector<Column> columns_;
  bool references_ = false;
  int sortColumn_ = 0;
  Qt::SortOrder sortOrder_ = Qt::DescendingOrder;
};

}  // namespace rewardloom
