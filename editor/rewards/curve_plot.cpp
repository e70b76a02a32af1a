#include "editor/rewards/curve_plot.h"

#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

#include "editor/rewards/proxy_gold_plot.h"
#include "editor/rewards/quantile_fan.h"

namespace rewardloom {

namespace {

/// Fewer points than pixels: a line through them.
void paintPoints(QPainter& painter, const MetricSeries& series, const PlotAxes& axes,
                 const QColor& color) {
  QPolygonF line;
  for (const SeriesPoint& point : series.points()) {
    const auto at = static_cast<double>(point.iteration);
    if (at < axes.x.low - 1 || at > axes.x.high + 1 || !std::isfinite(point.value)) continue;
    line << QPointF(axes.sx(at), axes.sy(point.value));
  }
  painter.setPen(QPen(color, 1.6));
  painter.setBrush(Qt::NoBrush);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.drawPolyline(line);
  if (line.size() == 1) painter.drawEllipse(line[0], 2, 2);
  painter.setRenderHint(QPainter::Antialiasing, false);
}

/// More points than pixels: from the least to the largest of each pixel.
void paintColumns(QPainter& painter, const std::vector<SeriesColumn>& columns, const PlotAxes& axes,
                  const QColor& color) {
  QList<QLineF> lines;
  lines.reserve(static_cast<qsizetype>(columns.size()));
  double x = axes.area.left();
  for (const SeriesColumn& column : columns) {
    if (column.any) lines.append({x, axes.sy(column.low), x, axes.sy(column.high) - 1});
    x += 1;
  }
  painter.setPen(QPen(color, 0));
  painter.drawLines(lines);
}

}  // namespace

CurvePlot::CurvePlot(const Theme& theme, QWidget* parent)
    : RewardView(theme, tr("Metrics over iterations"), parent) {}

void CurvePlot::setCurves(std::vector<Curve> curves) {
  curves_ = std::move(curves);
  changed();
}

void CurvePlot::showAll() {
  zoomed_.reset();
  changed();
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

QRectF CurvePlot::plot(double legendHeight) const {
  // The legend stands above the plot, so that it never hides a curve.
  return QRectF(rect()).adjusted(kLeftMargin, 8 + std::min(legendHeight, height() / 2.0), -10,
                                 -kBottomMargin);
}

AxisRange CurvePlot::across() const {
  if (zoomed_) return *zoomed_;
  AxisRange x = AxisRange::none();
  for (const Curve& curve : curves_) {
    if (!curve.series || curve.series->empty()) continue;
    x.hold(static_cast<double>(curve.series->first()));
    x.hold(static_cast<double>(curve.series->last()) + 1);
  }
  return x.low < x.high ? x : AxisRange{0, 1};
}

void CurvePlot::drawPicture(QPainter& painter) const {
  const bool any = std::any_of(curves_.begin(), curves_.end(), [](const Curve& curve) {
    return curve.series && !curve.series->empty();
  });
  if (!any) return drawNotice(painter, tr("choose metrics to draw"));
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  PlotAxes frame;
  frame.area = plot(legendHeight(painter, entries, room));
  frame.x = across();
  // Extremes per pixel, read once: they give the range and the drawing.
  const int columns = std::max(1, static_cast<int>(frame.area.width()));
  std::vector<std::vector<SeriesColumn>> extremes;
  AxisRange y = AxisRange::none();
  for (const Curve& curve : curves_) {
    extremes.push_back(curve.series ? curve.series->columns(frame.x.low, frame.x.high, columns)
                                    : std::vector<SeriesColumn>());
    for (const SeriesColumn& column : extremes.back()) {
      if (!column.any) continue;
      y.hold(column.low);
      y.hold(column.high);
    }
  }
  frame.y = y.padded();
  paintAxes(painter, frame, theme(), tr("iteration"));
  painter.setClipRect(frame.area);
  for (std::size_t i = 0; i < curves_.size(); ++i) {
    if (!curves_[i].series) continue;
    if (frame.x.span() <= columns) {
      paintPoints(painter, *curves_[i].series, frame, curves_[i].color);
    } else {
      paintColumns(painter, extremes[i], frame, curves_[i].color);
    }
  }
  painter.setClipping(false);
  paintLegend(painter, entries, {kLeftMargin, 4}, room, theme());
}

void CurvePlot::drawCursor(QPainter& painter) const {
  if (!cursorIteration() || curves_.empty()) return;
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  const PlotAxes frame{plot(legendHeight(painter, entries, room)), across(), {0, 1}};
  paintCursorLine(painter, frame, *cursorIteration(), theme());
}

std::int64_t CurvePlot::iterationAt(double x) const {
  const PlotAxes frame{plot(0), across(), {0, 1}};
  return static_cast<std::int64_t>(std::floor(frame.xAt(x)));
}

void CurvePlot::wheelEvent(QWheelEvent* event) {
  const PlotAxes frame{plot(0), across(), {0, 1}};
  const double at = frame.xAt(event->position().x());
  const double factor = std::pow(0.85, event->angleDelta().y() / 120.0);
  const double wide = std::max(2.0, frame.x.span() * factor);
  const double share = (at - frame.x.low) / frame.x.span();
  zoomed_ = AxisRange{at - wide * share, at + wide * (1 - share)};
  changed();
  event->accept();
}

void CurvePlot::mousePressEvent(QMouseEvent* event) {
  last_ = event->position();
  dragged_ = false;
}

void CurvePlot::mouseMoveEvent(QMouseEvent* event) {
  if (event->buttons() & Qt::LeftButton) {
    if (!dragged_ && (event->position() - last_).manhattanLength() < 4) return;
    dragged_ = true;
    const PlotAxes frame{plot(0), across(), {0, 1}};
    const double by = (event->position().x() - last_.x()) / frame.area.width() * frame.x.span();
    last_ = event->position();
    zoomed_ = AxisRange{frame.x.low - by, frame.x.high - by};
    changed();
    return;
  }
  if (!curves_.empty()) Q_EMIT iterationHovered(iterationAt(event->position().x()));
}

void CurvePlot::mouseReleaseEvent(QMouseEvent* event) {
  if (dragged_ || curves_.empty() || event->button() != Qt::LeftButton) return;
  Q_EMIT iterationChosen(iterationAt(event->position().x()));
}

void CurvePlot::mouseDoubleClickEvent(QMouseEvent*) { showAll(); }

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
