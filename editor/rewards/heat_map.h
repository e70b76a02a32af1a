// The distribution of a reward over all iterations: one column an iteration, brightness by share.
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "editor/rewards/painted_view.h"
#include "editor/rewards/plot_axes.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// A part of a distribution over time, as brushed with the mouse.
struct HeatRegion {
  std::int64_t firstIteration = 0;
  std::int64_t lastIteration = 0;
  double low = 0;
  double high = 0;
  bool operator==(const HeatRegion&) const = default;
};

/// Histograms with different borders brought onto one common value axis.
class HeatGrid {
 public:
  static constexpr int kBins = 128;
  /// Only what is new is computed, unless the value axis had to change. Returns how many columns
  /// were kept.
  std::size_t set(const std::vector<HistogramRow>& rows);
  bool empty() const { return iterations_.empty(); }
  const std::vector<std::int64_t>& iterations() const { return iterations_; }
  double low() const { return low_; }
  double high() const { return high_; }
  /// Share of the column's values in a bin, 0..1.
  float share(std::size_t column, int bin) const {
    const double* const before = &sums_[column * kBins + static_cast<std::size_t>(bin)];
    return static_cast<float>(before[kBins] - before[0]);
  }
  /// Means of the shares of columns [from, to), all bins.
  std::array<float, kBins> shareOf(std::size_t from, std::size_t to) const;
  const std::vector<double>& means() const { return means_; }
  /// The mean over columns of the largest share: what is drawn brightest.
  float typicalPeak() const;
  /// Bins that any column has values in.
  const std::array<bool, kBins>& used() const { return used_; }

 private:
  /// What tells one column from another, so that unchanged ones are kept.
  struct Mark {
    std::int64_t iteration, count;
    double mean, lo, hi;
    bool operator==(const Mark&) const = default;
  };
  void add(const HistogramRow& row);
  void spread(const Distribution& distribution, std::array<float, kBins>& shares) const;

  std::vector<std::int64_t> iterations_;
  std::vector<Mark> marks_;
  /// Of all columns before this one, and before none: what columns that share a pixel have in
  /// common is a difference, however many they are.
  std::vector<double> sums_;
  std::vector<double> means_;
  std::vector<float> peaks_;  ///< the largest share of each column
  std::array<bool, kBins> used_{};
  AxisRange range_;  ///< of all values, as recorded
  double low_ = 0;
  double high_ = 1;
};

class HeatMap final : public PaintedView {
  Q_OBJECT

 public:
  explicit HeatMap(const Theme& theme, QWidget* parent = nullptr);
  void setRows(const std::vector<HistogramRow>& rows);
  const HeatGrid& grid() const { return grid_; }
  const std::optional<HeatRegion>& region() const { return region_; }
  /// Forgets what was brushed, without a signal.
  void clearBrush();
  void writeCsv(QTextStream& out) const override;
  /// Where a column and a value are on the screen.
  QPointF placeOf(std::int64_t iteration, double value) const;

 Q_SIGNALS:
  void brushed(const rewardloom::HeatRegion& region);
  void brushCleared();

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter& painter) const override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  QRectF plot() const;
  const QImage& cells(int width) const;
  void drawMeans(QPainter& painter, const QRectF& area) const;
  int thickness() const;
  double columnX(std::size_t column) const;
  std::size_t columnAt(double x) const;
  double valueY(double value) const;
  double valueAt(double y) const;
  QRectF brushRect() const;

  HeatGrid grid_;
  std::vector<HistogramRow> rows_;
  mutable QImage cells_;  ///< keeps its memory
  std::optional<QPointF> pressed_;
  std::optional<QRectF> drag_;
  std::optional<HeatRegion> region_;
};

}  // namespace rewardloom
