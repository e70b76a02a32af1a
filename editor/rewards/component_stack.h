// What the parts of a reward contribute to its mean, stacked in the unit of the total.
#pragma once
#include <string>
#include <vector>

#include "editor/rewards/curve_view.h"
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

class ComponentStack final : public CurveView {
  Q_OBJECT

 public:
  explicit ComponentStack(const Theme& theme, QWidget* parent = nullptr);
  void setParts(RewardParts parts);
  const RewardParts& parts() const { return parts_; }
  void writeCsv(QTextStream& out) const override;

 protected:
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override;
  std::vector<LegendEntry> legend() const override;
  Remark remark() const override { return {parts_.reason, {}}; }

 private:
  /// A part's share of the stack: from what stands below it to above it.
  struct Layer {
    QCPGraph* outer;
    QCPGraph* inner;
  };
  std::size_t shownIndex() const;
  void fillStack(IndexRange rows, int pixels);
  void fillLines(IndexRange rows, int pixels);
  double meanOf(const std::vector<double>& values, std::size_t from, std::size_t to) const;
  double middle(std::size_t from, std::size_t to) const;

  RewardParts parts_;
  std::vector<Layer> layers_;
  QCPGraph* halo_;  ///< keeps the total apart from what it crosses
  QCPGraph* total_;
};

}  // namespace rewardloom
