// A reward that is trained on and one that is only measured, over iterations or over the square
// root of the policy's divergence, with gold's peak and the stretch in which proxy alone goes on
// rising.
#pragma once
#include <optional>
#include <vector>

#include "editor/rewards/metric_series.h"
#include "editor/rewards/plot_axes.h"
#include "editor/rewards/reward_view.h"
#include "engine/io/proxy_gold.h"

namespace rewardloom {

/// What ProxyGoldPlot draws; names are for the legend and the file.
struct ProxyGoldData {
  ProxyGoldNames names;
  std::vector<CurvePoint> proxy;
  std::vector<CurvePoint> gold;
  std::vector<CurvePoint> kl;
};

/// The last two parts of a name, enough to know it by where the whole does not fit.
QString shortName(const std::string& name);

std::vector<CurvePoint> curvePoints(const MetricSeries& series);

class ProxyGoldPlot final : public RewardView {
  Q_OBJECT

 public:
  enum class Across { iterations, rootKl };

  explicit ProxyGoldPlot(const Theme& theme, QWidget* parent = nullptr);
  void setData(ProxyGoldData data);
  const ProxyGoldData& data() const { return data_; }
  void setAcross(Across across);
  const std::optional<Overoptimisation>& finding() const { return finding_; }
  /// The finding in a sentence; it says "suspect", as such a sign is evidence and no proof.
  QString verdict() const;
  void writeCsv(QTextStream& out) const override;

 protected:
  void drawPicture(QPainter& painter) const override;
  void drawCursor(QPainter& painter) const override;
  bool picturesCursor() const override { return true; }
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  struct Spot {
    std::int64_t iteration = 0;
    double x = 0;
    double y = 0;
    double mean = 0;
  };
  struct Frame {
    PlotAxes gold;
    PlotAxes proxy;
  };
  std::vector<Spot> spots(const std::vector<CurvePoint>& points) const;
  /// The abscissa of an iteration; NaN where the divergence is not known.
  double place(std::int64_t iteration) const;
  Frame frame(double legendHeight) const;
  std::vector<LegendEntry> legend() const;
  void drawFinding(QPainter& painter, const Frame& frame) const;
  void drawSpots(QPainter& painter, const PlotAxes& axes, const std::vector<Spot>& spots,
                 const QColor& color, Qt::PenStyle line) const;
  QColor goldColor() const { return seriesColor(0, theme()); }
  QColor proxyColor() const { return seriesColor(1, theme()); }
  std::optional<std::int64_t> iterationNear(QPointF at) const;

  ProxyGoldData data_;
  Across across_ = Across::iterations;
  std::optional<Overoptimisation> finding_;
  std::vector<double> rootKl_;  ///< of data_.kl, moving means
};

}  // namespace rewardloom
