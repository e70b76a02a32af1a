#include "editor/rewards/curve_plot.h"

#include <algorithm>
#include <cmath>

#include "editor/rewards/custom_plot.h"
#include "editor/rewards/proxy_gold_plot.h"

namespace rewardloom {
namespace {

/// Fewer points than pixels: a line through them.
void drawPoints(QCPGraph& graph, const MetricSeries& series, const AxisRange& seen,
                const QColor& color, AxisRange& upright) {
  const auto placeOf = [](const SeriesPoint& p) { return static_cast<double>(p.iteration); };
  const IndexRange rows = seenRows(series.points(), seen, placeOf);
  QVector<QCPGraphData> line;
  line.reserve(static_cast<qsizetype>(rows.count()));
  for (std::size_t i = rows.begin; i < rows.end; ++i) {
    const SeriesPoint& point = series.points()[i];
    if (!std::isfinite(point.value)) continue;
    line.append({placeOf(point), point.value});
    upright.hold(point.value);
  }
  graph.setPen(QPen(color, 1.6));
  graph.setAntialiased(true);
  graph.setScatterStyle(line.size() == 1 ? QCPScatterStyle(QCPScatterStyle::ssDisc, 4)
                                         : QCPScatterStyle());
  graph.data()->set(line, true);
}

/// More points than pixels: from the least to the largest of each pixel, up and down in turn.
void drawExtremes(QCPGraph& graph, const MetricSeries& series, const AxisRange& seen, int pixels,
                  const QColor& color, AxisRange& upright) {
  const std::vector<SeriesColumn> columns = series.columns(seen.low, seen.high, pixels);
  const double wide = seen.span() / pixels;
  QVector<QCPGraphData> line;
  line.reserve(2 * static_cast<qsizetype>(columns.size()));
  double x = seen.low + wide / 2;
  bool up = true;
  for (const SeriesColumn& column : columns) {
    if (column.any) {
      line.append({x, up ? column.low : column.high});
      line.append({x, up ? column.high : column.low});
      upright.hold(column.low);
      upright.hold(column.high);
      up = !up;
    }
    x += wide;
  }
  graph.setPen(QPen(color, 0));
  graph.setAntialiased(false);
  graph.setScatterStyle(QCPScatterStyle());
  graph.data()->set(line, true);
}

}  // namespace

CurvePlot::CurvePlot(const Theme& theme, QWidget* parent)
    : CurveView(theme, tr("Metrics over iterations"), parent) {}

void CurvePlot::setCurves(std::vector<Curve> curves) {
  curves_ = std::move(curves);
  const int count = static_cast<int>(curves_.size());
  while (plot().graphCount() > count) plot().removeGraph(plot().graphCount() - 1);
  while (plot().graphCount() < count) addGraph()->setAdaptiveSampling(false);
  changed();
}

QString CurvePlot::notice() const {
  const bool any = std::any_of(curves_.begin(), curves_.end(), [](const Curve& curve) {
    return curve.series && !curve.series->empty();
  });
  return any ? QString() : tr("choose metrics to draw");
}

std::vector<LegendEntry> CurvePlot::legend() const {
  std::vector<LegendEntry> entries;
  for (const Curve& curve : curves_) {
    QString text = shortName(curve.name.toStdString());
    if (curve.series && !curve.series->empty()) {
      const double value = cursorIteration() ? curve.series->valueAt(*cursorIteration())
                                             : curve.series->points().back().value;
      text += QStringLiteral("  %1").arg(value, 0, 'g', 5);
    }
    entries.push_back({curve.color, text, Qt::SolidLine});
  }
  return entries;
}

AxisRange CurvePlot::across() const {
  AxisRange x = AxisRange::none();
  for (const Curve& curve : curves_) {
    if (!curve.series || curve.series->empty()) continue;
    x.hold(static_cast<double>(curve.series->first()));
    x.hold(static_cast<double>(curve.series->last()) + 1);
  }
  return x.low < x.high ? x : AxisRange{0, 1};
}

void CurvePlot::fill(const AxisRange& seen, int pixels) {
  AxisRange upright = AxisRange::none();
  for (std::size_t i = 0; i < curves_.size(); ++i) {
    const Curve& curve = curves_[i];
    QCPGraph& graph = *plot().graph(static_cast<int>(i));
    if (!curve.series) {
      graph.data()->clear();
    } else if (seen.span() <= pixels) {
      drawPoints(graph, *curve.series, seen, curve.color, upright);
    } else {
      drawExtremes(graph, *curve.series, seen, pixels, curve.color, upright);
    }
  }
  upright = upright.padded();
  plot().yAxis->setRange(upright.low, upright.high);
}

std::optional<std::int64_t> CurvePlot::iterationAt(double x) const {
  return static_cast<std::int64_t>(std::floor(x));
}

void CurvePlot::writeCsv(QTextStream& out) const {
  out << "metric,iteration,value\n";
  for (const Curve& curve : curves_) {
    if (!curve.series) continue;
    for (const SeriesPoint& point : curve.series->points()) {
      out << csvField(curve.name) << ',' << point.iteration << ',' << csvNumber(point.value)
          << '\n';
    }
  }
}

}  // namespace rewardloom
