// Metrics over iterations: curves of a million points, all of them, no sampling.
#pragma once
#include <optional>
#include <vector>

#include "editor/rewards/metric_series.h"
#include "editor/rewards/plot_axes.h"
#include "editor/rewards/reward_view.h"

namespace rewardloom {

/// A curve to draw.
struct Curve {
  QString name;
  const MetricSeries* series = nullptr;
  QColor color;
};

class CurvePlot final : public RewardView {
  Q_OBJECT

 public:
  explicit CurvePlot(const Theme& theme, QWidget* parent = nullptr);
  void setCurves(std::vector<Curve> curves);
  void showAll();
  void writeCsv(QTextStream& out) const override;

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter& painter) const override;
  bool picturesCursor() const override { return true; }
  void wheelEvent(QWheelEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;

 private:
  std::vector<LegendEntry> legend() const;
  QRectF plot(double legendHeight) const;
  AxisRange across() const;
  std::int64_t iterationAt(double x) const;

  std::vector<Curve> curves_;
  std::optional<AxisRange> zoomed_;
  QPointF last_;
  bool dragged_ = false;
};

}  // namespace rewardloom
