// The quantiles of a recorded value over the iterations: bands around the median.
#pragma once
#include <array>
#include <vector>

#include "editor/rewards/curve_view.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

class QuantileFan final : public CurveView {
  Q_OBJECT

 public:
  explicit QuantileFan(const Theme& theme, QWidget* parent = nullptr);
  void setRows(const std::vector<HistogramRow>& rows);
  void writeCsv(QTextStream& out) const override;

 protected:
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override;
  std::vector<LegendEntry> legend() const override;

 private:
  struct Point {
    std::int64_t iteration = 0;
    double mean = 0;
    std::array<double, 7> quantiles{};
  };
  const Point* pointAt(std::int64_t iteration) const;

  std::vector<Point> points_;
  std::array<QCPGraph*, 7> quantiles_{};
  QCPGraph* mean_;
};

/// The first and the last of the rows' iterations; one alone has some room around it.
template <class Rows>
AxisRange iterationsOf(const Rows& rows) {
  if (rows.empty()) return {0, 1};
  const AxisRange range{static_cast<double>(rows.front().iteration),
                        static_cast<double>(rows.back().iteration)};
  return range.span() > 0 ? range : AxisRange{range.low - 0.5, range.low + 0.5};
}

}  // namespace rewardloom
