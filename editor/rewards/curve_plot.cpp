#include "editor/rewards/curve_plot.h"

#include <QMouseEvent>
#include <QPainter>
#include <QWheelEvent>
#include <algorithm>
#include <array>
#include <cmath>

namespace rewardloom {

std::vector<double> axisTicks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || count < 1) return ticks;
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = power * factor;
    if (step >= raw) break;
  }
  for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
  }
  return ticks;
}

CurvePlot::CurvePlot(const Theme& theme, QWidget* parent) : QWidget(parent), theme_(theme) {
  setMouseTracking(true);
  setMinimumHeight(120);
  setAccessibleName(tr("Metrics over iterations"));
}

QColor CurvePlot::curveColor(std::size_t index, const Theme& theme) {
  static constexpr std::array<QRgb, 7> colors = {0xffe69f00, 0xff56b4e9, 0xff009e73, 0xffcc79a7,
                                                 0xffd55e00, 0xff3d87c9, 0xfff0e442};
  const QColor color(colors[index % colors.size()]);
  return theme.dark ? color : color.darker(135);
}

void CurvePlot::setCurves(std::vector<Curve> curves) {
  curves_ = std::move(curves);
  update();
}

void CurvePlot::setTheme(const Theme& theme) {
  theme_ = theme;
  update();
}

void CurvePlot::setCursorIteration(std::optional<std::int64_t> iteration) {
  if (cursor_ == iteration) return;
  cursor_ = iteration;
  update();
}

void CurvePlot::showAll() {
  zoomed_.reset();
  update();
}

QRectF CurvePlot::plot() const {
  // The legend stands above the plot, so that it never hides a curve.
  const double legend = 17.0 * static_cast<double>(curves_.size());
  return QRectF(rect()).adjusted(58, 8 + std::min(legend, height() / 2.0), -10, -24);
}

CurvePlot::Range CurvePlot::across() const {
  if (zoomed_) return *zoomed_;
  Range x{std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()};
  for (const Curve& curve : curves_) {
    if (!curve.series || curve.series->empty()) continue;
    x.low = std::min(x.low, static_cast<double>(curve.series->first()));
    x.high = std::max(x.high, static_cast<double>(curve.series->last()) + 1);
  }
  return x.low < x.high ? x : Range{0, 1};
}

CurvePlot::Range CurvePlot::upright(const Range& x) const {
  Range y{std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()};
  for (const Curve& curve : curves_) {
    if (!curve.series) continue;
    for (const SeriesColumn& column : curve.series->columns(x.low, x.high, 200)) {
      if (!column.any) continue;
      y.low = std::min(y.low, column.low);
      y.high = std::max(y.high, column.high);
    }
  }
  if (y.low > y.high) return {0, 1};
  const double pad =
      y.high > y.low ? (y.high - y.low) * 0.06 : std::max(0.5, std::abs(y.high) * 0.1);
  return {y.low - pad, y.high + pad};
}

void CurvePlot::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.fillRect(rect(), theme_.canvas);
  const QRectF area = plot();
  const bool any = std::any_of(curves_.begin(), curves_.end(), [](const Curve& curve) {
    return curve.series && !curve.series->empty();
  });
  if (!any) {
    painter.setPen(theme_.faintText);
    painter.drawText(rect(), Qt::AlignCenter, tr("choose metrics to draw"));
    return;
  }
  const Range x = across();
  const Range y = upright(x);
  const auto sx = [&](double v) {
    return area.left() + (v - x.low) / (x.high - x.low) * area.width();
  };
  const auto sy = [&](double v) {
    return area.bottom() - (v - y.low) / (y.high - y.low) * area.height();
  };
  for (const double tick : axisTicks(y.low, y.high, 5)) {
    painter.setPen(theme_.grid);
    painter.drawLine(QPointF(area.left(), sy(tick)), QPointF(area.right(), sy(tick)));
    painter.setPen(theme_.faintText);
    painter.drawText(QRectF(0, sy(tick) - 9, 52, 18), Qt::AlignRight | Qt::AlignVCenter,
                     QString::number(tick, 'g', 4));
  }
  for (const double tick : axisTicks(x.low, x.high, 6)) {
    painter.setPen(theme_.faintText);
    painter.drawText(QRectF(sx(tick) - 40, area.bottom() + 3, 80, 18), Qt::AlignCenter,
                     QString::number(tick, 'g', 7));
  }
  painter.setPen(theme_.faintText);
  painter.drawRect(area);
  painter.setClipRect(area);
  for (const Curve& curve : curves_) paintCurve(painter, curve, x, y);
  if (cursor_) {
    painter.setPen(QPen(theme_.selection, 1));
    painter.drawLine(QPointF(sx(static_cast<double>(*cursor_)), area.top()),
                     QPointF(sx(static_cast<double>(*cursor_)), area.bottom()));
  }
  painter.setClipping(false);
  paintLegend(painter);
}

void CurvePlot::paintCurve(QPainter& painter, const Curve& curve, const Range& x,
                           const Range& y) const {
  if (!curve.series || curve.series->empty()) return;
  const QRectF area = plot();
  const auto sy = [&](double v) {
    return area.bottom() - (v - y.low) / (y.high - y.low) * area.height();
  };
  painter.setPen(QPen(curve.color, 1.6));
  const int columns = std::max(1, static_cast<int>(area.width()));
  const double shown = (x.high - x.low);
  if (shown <= columns) {
    // Fewer points than pixels: a line through them.
    QPolygonF line;
    for (const SeriesPoint& point : curve.series->points()) {
      const auto at = static_cast<double>(point.iteration);
      if (at < x.low - 1 || at > x.high + 1 || !std::isfinite(point.value)) continue;
      line << QPointF(area.left() + (at - x.low) / shown * area.width(), sy(point.value));
    }
    painter.setRenderHint(QPainter::Antialiasing);
    painter.drawPolyline(line);
    if (line.size() == 1) painter.drawEllipse(line[0], 2, 2);
    painter.setRenderHint(QPainter::Antialiasing, false);
    return;
  }
  const auto extremes = curve.series->columns(x.low, x.high, columns);
  QList<QLineF> lines;
  for (int c = 0; c < columns; ++c) {
    const SeriesColumn& column = extremes[static_cast<std::size_t>(c)];
    if (!column.any) continue;
    const double px = area.left() + c;
    lines.append({px, sy(column.low), px, sy(column.high) - 1});
  }
  painter.drawLines(lines);
}

void CurvePlot::paintLegend(QPainter& painter) const {
  double y = 4;
  for (const Curve& curve : curves_) {
    QString text = curve.name;
    if (cursor_ && curve.series) {
      text += QStringLiteral("  %1").arg(curve.series->valueAt(*cursor_), 0, 'g', 5);
    } else if (curve.series && !curve.series->empty()) {
      text += QStringLiteral("  %1").arg(curve.series->points().back().value, 0, 'g', 5);
    }
    const QRectF row(plot().left() + 8, y, plot().width() - 16, 16);
    painter.fillRect(QRectF(row.left(), y + 6, 14, 4), curve.color);
    painter.setPen(theme_.text);
    painter.drawText(row.adjusted(20, 0, 0, 0), Qt::AlignLeft | Qt::AlignVCenter,
                     painter.fontMetrics().elidedText(text, Qt::ElideMiddle,
                                                      static_cast<int>(row.width()) - 20));
    y += 17;
  }
}

void CurvePlot::wheelEvent(QWheelEvent* event) {
  const Range x = across();
  const double at =
      x.low + (event->position().x() - plot().left()) / plot().width() * (x.high - x.low);
  const double factor = std::pow(0.85, event->angleDelta().y() / 120.0);
  const double width = std::max(2.0, (x.high - x.low) * factor);
  const double share = (at - x.low) / (x.high - x.low);
  zoomed_ = Range{at - width * share, at + width * (1 - share)};
  update();
  event->accept();
}

void CurvePlot::mousePressEvent(QMouseEvent* event) { last_ = event->position(); }

void CurvePlot::mouseMoveEvent(QMouseEvent* event) {
  const Range x = across();
  if (event->buttons() & Qt::LeftButton) {
    const double by = (event->position().x() - last_.x()) / plot().width() * (x.high - x.low);
    last_ = event->position();
    zoomed_ = Range{x.low - by, x.high - by};
    update();
    return;
  }
  const double at =
      x.low + (event->position().x() - plot().left()) / plot().width() * (x.high - x.low);
  setCursorIteration(static_cast<std::int64_t>(std::floor(at)));
  Q_EMIT iterationHovered(static_cast<qint64>(std::floor(at)));
}

void CurvePlot::mouseDoubleClickEvent(QMouseEvent*) { showAll(); }

}  // namespace rewardloom
