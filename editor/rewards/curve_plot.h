// Metrics over iterations: curves of a million points, all of them, no sampling.
#pragma once
#include <QWidget>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "editor/rewards/metric_series.h"
#include "editor/theme.h"

namespace rewardloom {

/// A curve to draw; `smoothed` is 0 for the raw one, else the weight of an exponential mean.
struct Curve {
  QString name;
  const MetricSeries* series = nullptr;
  QColor color;
};

class CurvePlot final : public QWidget {
  Q_OBJECT

 public:
  explicit CurvePlot(const Theme& theme, QWidget* parent = nullptr);
  void setCurves(std::vector<Curve> curves);
  void setTheme(const Theme& theme);
  void setCursorIteration(std::optional<std::int64_t> iteration);
  void showAll();
  static QColor curveColor(std::size_t index, const Theme& theme);
  QSize sizeHint() const override { return {500, 220}; }

 Q_SIGNALS:
  void iterationHovered(qint64 iteration);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void wheelEvent(QWheelEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;

 private:
  struct Range {
    double low = 0;
    double high = 1;
  };
  QRectF plot() const;
  Range across() const;
  Range upright(const Range& x) const;
  void paintCurve(QPainter& painter, const Curve& curve, const Range& x, const Range& y) const;
  void paintLegend(QPainter& painter) const;

  Theme theme_;
  std::vector<Curve> curves_;
  std::optional<Range> zoomed_;
  std::optional<std::int64_t> cursor_;
  QPointF last_;
};

/// Round numbers that divide a range into about `count` parts.
std::vector<double> axisTicks(double low, double high, int count);

}  // namespace rewardloom
