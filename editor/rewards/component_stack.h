// What the parts of a reward contribute to its mean, stacked in the unit of the total.
#pragma once
#include <string>
#include <vector>

#include "editor/rewards/plot_axes.h"
#include "editor/rewards/reward_view.h"
#include "engine/graph/document.h"
#include "engine/io/run_rows.h"

namespace rewardloom {

/// One part of a reward: its mean at each iteration times the weight that it enters the total with.
struct RewardPart {
  QString name;
  double weight = 1;
  std::vector<double> means;  ///< by index of RewardParts::iterations, NaN where not recorded
};

struct RewardParts {
  std::vector<std::int64_t> iterations;
  std::vector<double> total;
  std::vector<RewardPart> parts;
  /// Whether the weighted parts add up to the total: only then can they be stacked.
  bool additive = false;
  /// Why not, in words.
  QString reason;
};

/// `columns` are the recorded histograms of the total and of its components by name. Weights are
/// those of the node, where the graph as run says them and it adds its parts up.
RewardParts rewardParts(
    const std::vector<HistogramRow>& total,
    const std::vector<std::pair<std::string, std::vector<HistogramRow>>>& columns,
    const GraphNode* node);

class ComponentStack final : public RewardView {
  Q_OBJECT

 public:
  explicit ComponentStack(const Theme& theme, QWidget* parent = nullptr);
  void setParts(RewardParts parts);
  const RewardParts& parts() const { return parts_; }
  void writeCsv(QTextStream& out) const override;

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter& painter) const override;
  bool picturesCursor() const override { return true; }
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  std::vector<LegendEntry> legend() const;
  PlotAxes axes(double legendHeight) const;
  void drawStack(QPainter& painter, const PlotAxes& axes) const;
  void drawLines(QPainter& painter, const PlotAxes& axes) const;
  std::size_t shownIndex() const;

  RewardParts parts_;
};

}  // namespace rewardloom
