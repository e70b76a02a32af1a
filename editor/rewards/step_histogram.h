// The distribution of a recorded value at one iteration, bin by bin, as it was written down.
#pragma once
#include <optional>

#include "editor/rewards/reward_view.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

class StepHistogram final : public RewardView {
  Q_OBJECT

 public:
  explicit StepHistogram(const Theme& theme, QWidget* parent = nullptr);
  void setRow(const HistogramRow* row);
  void writeCsv(QTextStream& out) const override;

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter&) const override {}
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  QRectF plot(const QFontMetricsF& metrics) const;

  std::optional<HistogramRow> row_;
};

}  // namespace rewardloom
