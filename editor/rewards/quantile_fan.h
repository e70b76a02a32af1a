// The quantiles of a recorded value over the iterations: bands around the median.
#pragma once
#include <vector>

#include "editor/rewards/plot_axes.h"
#include "editor/rewards/reward_view.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

class QuantileFan final : public RewardView {
  Q_OBJECT

 public:
  explicit QuantileFan(const Theme& theme, QWidget* parent = nullptr);
  void setRows(const std::vector<HistogramRow>& rows);
  void writeCsv(QTextStream& out) const override;

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter& painter) const override;
  bool picturesCursor() const override { return true; }
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  struct Point {
    std::int64_t iteration = 0;
    double mean = 0;
    std::array<double, 7> quantiles{};
  };
  std::vector<LegendEntry> legend() const;
  PlotAxes axes(double legendHeight) const;
  const Point* pointAt(std::int64_t iteration) const;

  std::vector<Point> points_;
};

/// Iteration of a place between the first and the last recorded one; false where nothing is.
bool iterationUnder(const PlotAxes& axes, double x, std::int64_t& iteration);

/// A vertical line at an iteration, where it is inside the plot.
void paintCursorLine(QPainter& painter, const PlotAxes& axes, std::int64_t iteration,
                     const Theme& theme);

/// Calls `take(first, last, middle)` with index ranges that share a pixel: none is left out.
template <class Take>
void eachPixelRange(std::size_t count, double width, Take take) {
  const auto across = std::min(count, static_cast<std::size_t>(width > 1 ? width : 1));
  for (std::size_t i = 0; i < across; ++i) {
    take(i * count / across, (i + 1) * count / across);
  }
}

}  // namespace rewardloom
