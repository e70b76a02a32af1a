// How far the answers to one prompt differ in reward, and in how many groups they do not at all.
#pragma once
#include <vector>

#include "editor/rewards/curve_view.h"
#include "editor/rewards/metric_series.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// The groups of one iteration.
struct GroupSpreadPoint {
  std::int64_t iteration = 0;
  double mean = 0;  ///< of the standard deviations of groups whose rows differ; NaN: none do
  double low = 0;   ///< 25 % and 75 % quantile of them
  double high = 0;
  double noSignal = 0;  ///< share of groups whose rows are all worth the same
};

/// From the recorded spreads.
std::vector<GroupSpreadPoint> groupSpread(const std::vector<HistogramRow>& rows);
/// From a metric that gives the share of groups without signal: the spread itself is unknown.
std::vector<GroupSpreadPoint> groupSpread(const MetricSeries& constantGroups);

class GroupSpread final : public CurveView {
  Q_OBJECT

 public:
  explicit GroupSpread(const Theme& theme, QWidget* parent = nullptr);
  void setPoints(std::vector<GroupSpreadPoint> points);
  const std::vector<GroupSpreadPoint>& points() const { return points_; }
  void writeCsv(QTextStream& out) const override;

 protected:
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override;
  std::vector<LegendEntry> legend() const override;
  Remark remark() const override;

 private:
  bool spreadKnown() const;

  std::vector<GroupSpreadPoint> points_;
  QCPGraph* low_;
  QCPGraph* high_;
  QCPGraph* mean_;
  QCPGraph* noSignal_;
};

}  // namespace rewardloom
