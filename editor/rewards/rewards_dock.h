// The reward views of one run side by side, with one cursor over all of them.
#pragma once
#include <QWidget>

#include "editor/rewards/curve_plot.h"
#include "editor/rewards/heat_map.h"
#include "editor/rewards/samples_panel.h"

class QComboBox;
class QListWidget;
class QLabel;

namespace rewardloom {

class RewardsDock final : public QWidget {
  Q_OBJECT

 public:
  explicit RewardsDock(const Theme& theme, QWidget* parent = nullptr);
  void setData(RunData* data);
  void setTheme(const Theme& theme);
  /// Shows the distribution of a port ("check.rewards").
  void showPort(const QString& node, const QString& port);
  HeatMap& heatMap() { return *heat_; }
  CurvePlot& curves() { return *plot_; }
  SamplesPanel& samples() { return *samples_; }
  void chooseMetrics(const QStringList& names);

 private:
  void refresh();
  void refreshChoices();
  void drawCurves();
  void drawHeat();
  void setCursor(std::int64_t iteration);
  std::optional<ProbeKey> chosen() const;

  Theme theme_;
  RunData* data_ = nullptr;
  QComboBox* ports_;
  QLabel* note_;
  HeatMap* heat_;
  QListWidget* metrics_;
  CurvePlot* plot_;
  SamplesPanel* samples_;
  bool filling_ = false;
};

/// The metrics people look at first: rewards, accuracies, KL, then length.
QStringList firstMetrics(const std::map<std::string, MetricSeries>& metrics);

}  // namespace rewardloom
