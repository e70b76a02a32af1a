#include "editor/rewards/quantile_fan.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

namespace rewardloom {

bool iterationUnder(const PlotAxes& axes, double x, std::int64_t& iteration) {
  if (x < axes.area.left() || x > axes.area.right()) return false;
  iteration = static_cast<std::int64_t>(std::lround(axes.xAt(x)));
  return true;
}

void paintCursorLine(QPainter& painter, const PlotAxes& axes, std::int64_t iteration,
                     const Theme& theme) {
  const double x = axes.sx(static_cast<double>(iteration));
  if (x < axes.area.left() || x > axes.area.right()) return;
  painter.setPen(QPen(theme.selection, 1.5));
  painter.drawLine(QPointF(x, axes.area.top()), QPointF(x, axes.area.bottom()));
}

QuantileFan::QuantileFan(const Theme& theme, QWidget* parent)
    : RewardView(theme, tr("Quantiles over iterations"), parent) {}

void QuantileFan::setRows(const std::vector<HistogramRow>& rows) {
  points_.clear();
  for (const HistogramRow& row : rows) {
    if (row.distribution.count == 0) continue;
    points_.push_back({row.iteration, row.distribution.mean, row.distribution.quantiles});
  }
  changed();
}

const QuantileFan::Point* QuantileFan::pointAt(std::int64_t iteration) const {
  const auto after =
      std::upper_bound(points_.begin(), points_.end(), iteration,
                       [](std::int64_t i, const Point& point) { return i < point.iteration; });
  return after == points_.begin() ? nullptr : &*std::prev(after);
}

std::vector<LegendEntry> QuantileFan::legend() const {
  QColor band = theme().selection;
  const Point* point = cursorIteration() ? pointAt(*cursorIteration()) : &points_.back();
  const auto text = [&](const QString& name, double low, double high) {
    return point ? QStringLiteral("%1  %2 … %3").arg(name).arg(low, 0, 'g', 4).arg(high, 0, 'g', 4)
                 : name;
  };
  const Point none;
  const Point& p = point ? *point : none;
  std::vector<LegendEntry> entries;
  band.setAlpha(70);
  entries.push_back({band, text(tr("1-99 %"), p.quantiles[0], p.quantiles[6]), Qt::SolidLine});
  band.setAlpha(130);
  entries.push_back({band, text(tr("5-95 %"), p.quantiles[1], p.quantiles[5]), Qt::SolidLine});
  band.setAlpha(200);
  entries.push_back({band, text(tr("25-75 %"), p.quantiles[2], p.quantiles[4]), Qt::SolidLine});
  const auto one = [&](const QString& name, double value) {
    return point ? QStringLiteral("%1  %2").arg(name).arg(value, 0, 'g', 4) : name;
  };
  entries.push_back({theme().text, one(tr("median"), p.quantiles[3]), Qt::SolidLine});
  entries.push_back({seriesColor(0, theme()), one(tr("mean"), p.mean), Qt::DashLine});
  return entries;
}

PlotAxes QuantileFan::axes(double legendHeight) const {
  PlotAxes axes;
  axes.area = QRectF(rect()).adjusted(kLeftMargin, 8 + std::min(legendHeight, height() / 2.0), -10,
                                      -kBottomMargin);
  AxisRange y = AxisRange::none();
  for (const Point& point : points_) {
    for (const double q : point.quantiles) y.hold(q);
    y.hold(point.mean);
  }
  axes.y = y.padded();
  axes.x = {static_cast<double>(points_.front().iteration),
            static_cast<double>(points_.back().iteration)};
  if (axes.x.span() <= 0) axes.x = {axes.x.low - 0.5, axes.x.low + 0.5};
  return axes;
}

void QuantileFan::drawPicture(QPainter& painter) const {
  if (points_.empty()) return drawNotice(painter, tr("nothing recorded yet"));
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  const PlotAxes frame = axes(legendHeight(painter, entries, room));
  paintAxes(painter, frame, theme(), tr("iteration"));
  painter.setClipRect(frame.area);
  painter.setRenderHint(QPainter::Antialiasing);
  std::array<QPolygonF, 7> lines;
  QPolygonF mean;
  eachPixelRange(points_.size(), frame.area.width(), [&](std::size_t from, std::size_t to) {
    // Where several iterations share a pixel, its quantiles are their means.
    Point sum;
    for (std::size_t i = from; i < to; ++i) {
      for (std::size_t q = 0; q < 7; ++q) sum.quantiles[q] += points_[i].quantiles[q];
      sum.mean += points_[i].mean;
    }
    const auto n = static_cast<double>(to - from);
    const double x =
        frame.sx(static_cast<double>(points_[from].iteration + points_[to - 1].iteration) / 2);
    for (std::size_t q = 0; q < 7; ++q) lines[q] << QPointF(x, frame.sy(sum.quantiles[q] / n));
    mean << QPointF(x, frame.sy(sum.mean / n));
  });
  painter.setPen(Qt::NoPen);
  QColor band = theme().selection;
  band.setAlpha(55);
  painter.setBrush(band);
  for (std::size_t q = 0; q < 3; ++q) {
    QPolygonF area = lines[q];
    for (auto it = lines[6 - q].crbegin(); it != lines[6 - q].crend(); ++it) area << *it;
    painter.drawPolygon(area);
  }
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(theme().text, 1.8));
  painter.drawPolyline(lines[3]);
  painter.setPen(QPen(seriesColor(0, theme()), 1.4, Qt::DashLine));
  painter.drawPolyline(mean);
  if (mean.size() == 1) painter.drawEllipse(mean[0], 2, 2);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipping(false);
  paintLegend(painter, entries, {kLeftMargin, 4}, room, theme());
}

void QuantileFan::drawCursor(QPainter& painter) const {
  const double room = width() - kLeftMargin - 10;
  if (points_.empty() || !cursorIteration()) return;
  const PlotAxes frame =
      axes(legendHeight(painter, fittingLegend(painter, legend(), room, height()), room));
  paintCursorLine(painter, frame, *cursorIteration(), theme());
}

void QuantileFan::mouseMoveEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (points_.empty() || !iterationUnder(axes(0), event->position().x(), iteration)) return;
  Q_EMIT iterationHovered(iteration);
}

void QuantileFan::mouseReleaseEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (points_.empty() || !iterationUnder(axes(0), event->position().x(), iteration)) return;
  Q_EMIT iterationChosen(iteration);
}

void QuantileFan::writeCsv(QTextStream& out) const {
  out << "iteration,mean";
  for (const std::string_view name : quantile_names) out << ',' << name.data();
  out << '\n';
  for (const Point& point : points_) {
    out << point.iteration << ',' << csvNumber(point.mean);
    for (const double q : point.quantiles) out << ',' << csvNumber(q);
    out << '\n';
  }
}

}  // namespace rewardloom
