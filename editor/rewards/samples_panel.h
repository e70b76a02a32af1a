// The recorded rollouts: any number of rows, only the visible ones in memory.
#pragma once
#include <QAbstractTableModel>
#include <QWidget>
#include <map>
#include <optional>

#include "editor/rewards/heat_map.h"
#include "editor/rewards/run_data.h"

class QLabel;
class QLineEdit;
class QTableView;
class QTextBrowser;

namespace rewardloom {

/// One recorded rollout, parsed.
struct Rollout {
  std::int64_t iteration = 0;
  std::int64_t row = 0;
  QString prompt, completion, reference;
  std::map<std::string, double> numbers;  ///< total, components, whatever else was recorded
  Json all;
};
Rollout parseRollout(const SampleRow& row);

class RolloutModel final : public QAbstractTableModel {
  Q_OBJECT

 public:
  explicit RolloutModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}
  void set(std::vector<Rollout> rollouts);
  const Rollout& rollout(int row) const {
    return rollouts_.at(static_cast<std::size_t>(shown_.at(static_cast<std::size_t>(row))));
  }
  void filter(const QString& text, const std::optional<HeatRegion>& region,
              const std::string& component);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  void sort(int column, Qt::SortOrder order) override;
  int total() const { return static_cast<int>(rollouts_.size()); }

 private:
  std::vector<Rollout> rollouts_;
  std::vector<int> shown_;
  std::vector<std::string> columns_;
};

class SamplesPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit SamplesPanel(QWidget* parent = nullptr);
  void setData(RunData* data);
  void showPort(const ProbeKey& key);
  void setRegion(const std::optional<HeatRegion>& region);
  void refresh();
  const RolloutModel& rollouts() const { return *model_; }

 Q_SIGNALS:
  void iterationChosen(qint64 iteration);

 private:
  void filter();
  void showRollout(const QModelIndex& index);

  RunData* data_ = nullptr;
  ProbeKey key_;
  std::optional<HeatRegion> region_;
  RolloutModel* model_;
  QLineEdit* search_;
  QLabel* count_;
  QTableView* table_;
  QTextBrowser* detail_;
  std::int64_t shownTo_ = -1;
};

}  // namespace rewardloom
