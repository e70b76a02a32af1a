// Curves over iterations on QCustomPlot: axes, legend with the values at the cursor, zoom and drag.
#pragma once
#include <vector>

#include "editor/rewards/plot_axes.h"
#include "editor/rewards/reward_view.h"

class QCustomPlot;
class QCPGraph;
class QCPItemStraightLine;
class QCPTextElement;

namespace rewardloom {

/// A mark of that colour and a text.
struct LegendEntry {
  QColor color;
  QString text;
  Qt::PenStyle line = Qt::SolidLine;
};

class CurveView : public RewardView {
  Q_OBJECT

 public:
  CurveView(const Theme& theme, const QString& name, QWidget* parent = nullptr);
  QCustomPlot& plot() { return *plot_; }
  /// Forgets zoom and drag: the whole run, also as it grows.
  void showAll();
  void drawOn(QPaintDevice& device) override;

 protected:
  /// A line under the legend.
  struct Remark {
    QString text;
    QColor color;
  };
  /// Why there is nothing to draw; empty where there is something.
  virtual QString notice() const = 0;
  /// From the first to the last place there is.
  virtual AxisRange across() const = 0;
  /// Hands the points of a stretch to the graphs, a few for each pixel at most, and sets the
  /// upright axes.
  virtual void fill(const AxisRange& seen, int pixels) = 0;
  /// Colours of the theme.
  virtual void dress() = 0;
  virtual std::vector<LegendEntry> legend() const = 0;
  virtual Remark remark() const { return {}; }
  virtual bool overIterations() const { return true; }
  virtual QString acrossTitle() const { return tr("iteration"); }
  /// On the axis; NaN where the iteration has no place.
  virtual double placeOf(std::int64_t iteration) const { return static_cast<double>(iteration); }
  virtual std::optional<std::int64_t> iterationAt(double x) const;

  /// Other data: they are drawn soon, once for all changes until then.
  void changed();
  QCPGraph* addGraph();
  QCPGraph* addRightGraph();
  void themeChanged() override;
  void cursorMoved() override;
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void showEvent(QShowEvent* event) override;
  void changeEvent(QEvent* event) override;

 private:
  void connectMouse();
  void rangeMoved();
  /// Before QCustomPlot lays out and draws.
  void prepare();
  void dressFrame();
  void layOutLegend();
  void layOutRemark();
  void placeCursor();
  std::optional<std::int64_t> iterationUnder(QPointF at) const;

  QCustomPlot* plot_;
  QCPItemStraightLine* cursorLine_;
  QCPTextElement* remark_;
  QPointF pressed_;
  bool stale_ = true;      ///< the graphs do not hold what is to be seen
  bool undressed_ = true;  ///< nor the theme's colours
  bool zoomed_ = false;
  bool preparing_ = false;
};

}  // namespace rewardloom
