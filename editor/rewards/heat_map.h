// The distribution of a reward over all iterations: one column an iteration, brightness by share.
#pragma once
#include <QImage>
#include <QWidget>
#include <optional>
#include <vector>

#include "editor/theme.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// A part of a distribution over time, as brushed with the mouse.
struct HeatRegion {
  std::int64_t firstIteration = 0;
  std::int64_t lastIteration = 0;
  double low = 0;
  double high = 0;
};

/// Histograms with different borders brought onto one common value axis.
class HeatGrid {
 public:
  static constexpr int kBins = 128;
  void set(const std::vector<HistogramRow>& rows);
  bool empty() const { return iterations_.empty(); }
  const std::vector<std::int64_t>& iterations() const { return iterations_; }
  double low() const { return low_; }
  double high() const { return high_; }
  /// Share of the column's values in a bin, 0..1.
  float share(std::size_t column, int bin) const {
    return shares_[column * kBins + static_cast<std::size_t>(bin)];
  }
  const std::vector<double>& means() const { return means_; }

 private:
  std::vector<std::int64_t> iterations_;
  std::vector<float> shares_;
  std::vector<double> means_;
  double low_ = 0;
  double high_ = 1;
};

class HeatMap final : public QWidget {
  Q_OBJECT

 public:
  explicit HeatMap(const Theme& theme, QWidget* parent = nullptr);
  void setRows(const std::vector<HistogramRow>& rows);
  void setTheme(const Theme& theme);
  void setCursorIteration(std::optional<std::int64_t> iteration);
  const HeatGrid& grid() const { return grid_; }
  QSize sizeHint() const override { return {500, 220}; }

 Q_SIGNALS:
  void brushed(const rewardloom::HeatRegion& region);
  void brushCleared();
  void iterationHovered(qint64 iteration);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  QRectF plot() const;
  void renderImage();
  int thickness() const;
  std::int64_t iterationAt(double x) const;
  double valueAt(double y) const;

  Theme theme_;
  HeatGrid grid_;
  QImage image_;
  std::optional<QPointF> pressed_;
  std::optional<QRectF> brush_;
  std::optional<std::int64_t> cursor_;
};

}  // namespace rewardloom
