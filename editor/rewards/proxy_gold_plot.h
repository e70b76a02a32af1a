// A reward that is trained on and one that is only measured, over iterations or over the square
// root of the policy's divergence, with gold's peak and the stretch in which proxy alone goes on
// rising.
#pragma once
#include <optional>
#include <vector>

#include "editor/rewards/curve_view.h"
#include "editor/rewards/metric_series.h"
#include "engine/io/proxy_gold.h"

class QCPCurve;
class QCPItemRect;

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

class ProxyGoldPlot final : public CurveView {
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
  QString notice() const override;
  AxisRange across() const override;
  void fill(const AxisRange& seen, int pixels) override;
  void dress() override;
  std::vector<LegendEntry> legend() const override;
  Remark remark() const override;
  bool overIterations() const override { return across_ == Across::iterations; }
  QString acrossTitle() const override;
  /// NaN where the divergence is not known.
  double placeOf(std::int64_t iteration) const override;
  std::optional<std::int64_t> iterationAt(double x) const override;

 private:
  struct Spot {
    std::int64_t iteration = 0;
    double x = 0;
    double y = 0;
    double mean = 0;
  };
  /// Faint: every value. Strong: the moving mean, which is what the finding is about.
  struct Strand {
    QCPGraph* values;
    QCPCurve* means;
  };
  Strand addStrand(bool right);
  std::vector<Spot> spots(const std::vector<CurvePoint>& points) const;
  AxisRange fillStrand(const Strand& strand, const std::vector<Spot>& spots, const AxisRange& seen,
                       int pixels);
  void dressStrand(const Strand& strand, const QColor& color, Qt::PenStyle line);
  void fillFinding();
  QColor goldColor() const { return seriesColor(0, theme()); }
  QColor proxyColor() const { return seriesColor(1, theme()); }

  ProxyGoldData data_;
  Across across_ = Across::iterations;
  std::optional<Overoptimisation> finding_;
  std::vector<double> rootKl_;  ///< of data_.kl, moving means
  QCPItemRect* stretch_;
  QCPItemStraightLine* peakLine_;
  Strand proxy_;
  Strand gold_;
  QCPGraph* peak_;
};

}  // namespace rewardloom
