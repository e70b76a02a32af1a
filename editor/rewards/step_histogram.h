// The distribution of a recorded value at one iteration, bin by bin, as it was written down.
#pragma once
#include <optional>

#include "editor/rewards/curve_view.h"
#include "engine/io/run_rows.h"

class QCPBars;

namespace rewardloom {

class StepHistogram final : public CurveView {
  Q_OBJECT

 public:
  explicit StepHistogram(const Theme& theme, QWidget* parent = nullptr);
  void setRow(const HistogramRow* row);
  void writeCsv(QTextStream& out) const override;

 protected:
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override;
  std::vector<LegendEntry> legend() const override;
  Remark remark() const override;
  bool overIterations() const override { return false; }
  QString acrossTitle() const override { return {}; }
  double placeOf(std::int64_t) const override;
  std::optional<std::int64_t> iterationAt(double) const override { return std::nullopt; }

 private:
  void tellBin(QPointF at, QPoint onScreen);
  double binWidth() const;

  std::optional<HistogramRow> row_;
  QCPBars* bars_;
};

}  // namespace rewardloom
