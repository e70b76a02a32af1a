// The reward views of one run side by side, with one cursor over all of them.
#pragma once
#include <QWidget>

#include "editor/rewards/component_stack.h"
#include "editor/rewards/curve_plot.h"
#include "editor/rewards/group_spread.h"
#include "editor/rewards/heat_map.h"
#include "editor/rewards/proxy_gold_panel.h"
#include "editor/rewards/quantile_fan.h"
#include "editor/rewards/samples_panel.h"
#include "editor/rewards/step_histogram.h"

class QCheckBox;
class QComboBox;
class QLabel;
class QLineEdit;
class QListWidget;
class QMenu;
class QSlider;
class QTabWidget;

namespace rewardloom {

class RewardsDock final : public QWidget {
  Q_OBJECT

 public:
  explicit RewardsDock(const Theme& theme, QWidget* parent = nullptr);
  void setData(RunData* data);
  void setTheme(const Theme& theme);
  /// Shows what flowed through a port ("check.rewards"); false where the run recorded nothing of
  /// it.
  bool showPort(const QString& node, const QString& port);
  HeatMap& heatMap() { return *heat_; }
  QuantileFan& fan() { return *fan_; }
  ComponentStack& parts() { return *parts_; }
  GroupSpread& groups() { return *groups_; }
  StepHistogram& step() { return *step_; }
  ProxyGoldPanel& proxyGold() { return *proxyGold_; }
  CurvePlot& curves() { return *plot_; }
  SamplesPanel& samples() { return *samples_; }
  QSlider& slider() { return *slider_; }
  void chooseMetrics(const QStringList& names);
  /// The views by the name of their tab.
  std::vector<std::pair<QString, RewardView*>> views() const;
  void showView(const QString& name);

  /// All views stay at an iteration; nothing: they follow the run.
  void pin(std::optional<std::int64_t> iteration);
  void stepBy(std::int64_t iterations);
  /// Writes the view that was last under the mouse; asks for the file.
  void exportView();
  /// Writes every view as PNG, SVG and CSV, and the listed rollouts as CSV; asks for the folder.
  void exportAllViews();
  /// The same without asking. Throws Failure `view-export`.
  void exportAllViews(const QString& folder);
  /// The node path of the port that is shown.
  std::string shownNode() const;

 Q_SIGNALS:
  void shownPortChanged();
  void statusText(const QString& text);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;
  void showEvent(QShowEvent* event) override;

 private:
  QWidget* topBar();
  void outlineBoxes();
  void addView(QTabWidget* tabs, QWidget* page, RewardView* view, const QString& name);
  void refresh();
  void refreshChoices();
  void refreshSlider();
  void refreshMetrics();
  void filterMetrics();
  void drawAll();
  void drawPort();
  void drawCurves();
  void drawStep();
  void drawGroups(const ProbeKey& key);
  void showProblems();
  void setCursor(std::optional<std::int64_t> iteration);
  std::optional<ProbeKey> chosen() const;
  int mostTelling() const;
  std::vector<ProbeKey> offered() const;

  Theme theme_;
  RunData* data_ = nullptr;
  QComboBox* ports_;
  QLabel* note_;
  QSlider* slider_;
  QLabel* stepLabel_;
  QCheckBox* follow_;
  QCheckBox* onlyStep_;
  QTabWidget* portViews_;
  QTabWidget* runViews_;
  HeatMap* heat_;
  QuantileFan* fan_;
  ComponentStack* parts_;
  GroupSpread* groups_;
  StepHistogram* step_;
  ProxyGoldPanel* proxyGold_;
  QListWidget* metrics_;
  QLineEdit* metricFilter_;
  CurvePlot* plot_;
  SamplesPanel* samples_;
  std::vector<std::pair<QString, RewardView*>> views_;
  RewardView* active_ = nullptr;
  std::vector<ProbeKey> offered_;
  std::optional<std::int64_t> pinned_;
  std::optional<std::pair<QString, QString>> wantedPort_;
  bool filling_ = false;
  bool portByHand_ = false;     ///< else it changes to what is most telling
  bool metricsByHand_ = false;  ///< the same of the curves
};

/// The metrics people look at first: gold and proxy, else accuracies, rewards, losses.
QStringList firstMetrics(const std::map<std::string, MetricSeries>& metrics);

}  // namespace rewardloom
