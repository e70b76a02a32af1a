// Metrics over iterations: curves of a million points, all of them, no sampling.
#pragma once
#include <vector>

#include "editor/rewards/curve_view.h"
#include "editor/rewards/metric_series.h"

namespace rewardloom {

/// A curve to draw.
struct Curve {
  QString name;
  const MetricSeries* series = nullptr;
  QColor color;
};

class CurvePlot final : public CurveView {
  Q_OBJECT

 public:
  explicit CurvePlot(const Theme& theme, QWidget* parent = nullptr);
  void setCurves(std::vector<Curve> curves);
  void writeCsv(QTextStream& out) const override;

 protected:
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override {}  // the curves bring their colours
  std::vector<LegendEntry> legend() const override;
  std::optional<std::int64_t> iterationAt(double x) const override;

 private:
  std::vector<Curve> curves_;
};

}  // namespace rewardloom
