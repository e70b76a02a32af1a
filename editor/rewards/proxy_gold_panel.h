// The plot of proxy against gold with the choice of its series.
#pragma once
#include <QWidget>

#include "editor/rewards/proxy_gold_plot.h"

class QComboBox;
class QToolButton;

namespace rewardloom {

class RunData;

class ProxyGoldPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit ProxyGoldPanel(const Theme& theme, QWidget* parent = nullptr);
  void setData(RunData* data);
  void refresh();
  ProxyGoldPlot& plot() { return *plot_; }
  /// Empty names mean: the most telling ones, chosen anew as the run goes on.
  void choose(const ProxyGoldNames& wanted);
  const ProxyGoldNames& shown() const { return shown_; }
  void setAcross(ProxyGoldPlot::Across across);

 private:
  void fillChoices();
  ProxyGoldNames resolve() const;
  double fallOf(const ProxyGoldNames& names) const;
  void draw();

  RunData* data_ = nullptr;
  ProxyGoldPlot* plot_;
  QComboBox* proxy_;
  QComboBox* gold_;
  QComboBox* kl_;
  QToolButton* rootKl_;
  ProxyGoldNames wanted_;
  ProxyGoldNames shown_;
  std::vector<ProxyGoldNames> pairs_;
  std::size_t known_ = 0;
};

}  // namespace rewardloom
