#include "editor/rewards/plot_axes.h"

#include <QFontMetricsF>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace rewardloom {
namespace {

constexpr double kMark = 14;
constexpr double kGap = 14;

double entryWidth(const QFontMetricsF& metrics, const LegendEntry& entry, double most) {
  return std::min(most, kMark + 6 + metrics.horizontalAdvance(entry.text) + kGap);
}

/// Calls `place` with the top left corner and the width of each entry, row by row; returns the
/// height.
template <class Place>
double layOutLegend(const QFontMetricsF& metrics, const std::vector<LegendEntry>& entries,
                    double width, Place place) {
  if (entries.empty()) return 0;
  const double row = metrics.height() + 2;
  double x = 0;
  double y = 0;
  for (const LegendEntry& entry : entries) {
    const double needed = entryWidth(metrics, entry, width);
    if (x > 0 && x + needed > width) {
      x = 0;
      y += row;
    }
    place(entry, QPointF(x, y), needed);
    x += needed;
  }
  return y + row;
}

}  // namespace

AxisRange AxisRange::none() {
  return {std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()};
}

void AxisRange::hold(double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

AxisRange AxisRange::padded(double share) const {
  if (empty()) return {0, 1};
  const double air = high > low ? span() * share : std::max(0.5, std::abs(high) * 0.1);
  return {low - air, high + air};
}

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
  // One tick alone gives no scale.
  constexpr int most = 16;
  return ticks.size() < 2 && count < most ? axisTicks(low, high, count + 2) : ticks;
}

QString tickText(double tick, double step) {
  const double size = std::max(std::abs(tick), step);
  if (size >= 1e6 || (step > 0 && step < 1e-4)) return QString::number(tick, 'g', 3);
  const int digits = step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  return QString::number(tick, 'f', digits);
}

void paintAxes(QPainter& painter, const PlotAxes& axes, const Theme& theme, const QString& below) {
  const QRectF& area = axes.area;
  const QFontMetricsF metrics(painter.font());
  const double height = metrics.height();
  const int rows = std::max(2, static_cast<int>(area.height() / (height * 2.2)));
  const std::vector<double> upright = axisTicks(axes.y.low, axes.y.high, std::min(rows, 6));
  const auto stepOf = [](const std::vector<double>& ticks) {
    return ticks.size() > 1 ? ticks[1] - ticks[0] : 1.0;
  };
  for (const double tick : upright) {
    const double y = axes.sy(tick);
    painter.setPen(theme.grid);
    painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y));
    painter.setPen(theme.faintText);
    painter.drawText(QRectF(0, y - height / 2, area.left() - 6, height),
                     Qt::AlignRight | Qt::AlignVCenter, tickText(tick, stepOf(upright)));
  }
  painter.setPen(theme.faintText);
  const double titleWidth = below.isEmpty() ? 0 : metrics.horizontalAdvance(below) + 8;
  const QRectF title(area.right() - titleWidth, area.bottom() + 4, titleWidth, height);
  painter.drawText(title, Qt::AlignRight | Qt::AlignVCenter, below);
  const std::vector<double> across =
      axisTicks(axes.x.low, axes.x.high, std::clamp(static_cast<int>(area.width() / 70), 2, 10));
  for (const double tick : across) {
    const QString text = tickText(tick, stepOf(across));
    const double half = metrics.horizontalAdvance(text) / 2 + 2;
    const double x = axes.sx(tick);
    const bool fits = x + half < (below.isEmpty() ? area.right() + half : title.left());
    if (!fits) continue;
    painter.drawText(QRectF(x - half, area.bottom() + 4, 2 * half, height), Qt::AlignCenter, text);
  }
  painter.drawRect(area);
}

void paintRightAxis(QPainter& painter, const PlotAxes& axes, const QColor& color) {
  const QFontMetricsF metrics(painter.font());
  const double height = metrics.height();
  const int rows = std::max(2, static_cast<int>(axes.area.height() / (height * 2.2)));
  const std::vector<double> ticks = axisTicks(axes.y.low, axes.y.high, std::min(rows, 6));
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1.0;
  painter.setPen(color);
  for (const double tick : ticks) {
    painter.drawText(QRectF(axes.area.right() + 6, axes.sy(tick) - height / 2, 52, height),
                     Qt::AlignLeft | Qt::AlignVCenter, tickText(tick, step));
  }
}

double legendHeight(const QPainter& painter, const std::vector<LegendEntry>& entries,
                    double width) {
  return layOutLegend(QFontMetricsF(painter.font()), entries, width,
                      [](const LegendEntry&, QPointF, double) {});
}

std::vector<LegendEntry> fittingLegend(const QPainter& painter, std::vector<LegendEntry> entries,
                                       double width, double viewHeight) {
  constexpr double most = 0.45;
  const double room = (viewHeight - kBottomMargin) * most;
  while (!entries.empty() && legendHeight(painter, entries, width) > room) entries.pop_back();
  return entries;
}

void paintLegend(QPainter& painter, const std::vector<LegendEntry>& entries, QPointF topLeft,
                 double width, const Theme& theme) {
  const QFontMetricsF metrics(painter.font());
  layOutLegend(metrics, entries, width, [&](const LegendEntry& entry, QPointF at, double wide) {
    const QPointF place = topLeft + at;
    const double middle = place.y() + metrics.height() / 2;
    painter.setPen(QPen(entry.color, 3, entry.line));
    painter.drawLine(QPointF(place.x(), middle), QPointF(place.x() + kMark, middle));
    painter.setPen(theme.text);
    const double room = wide - kMark - 6;
    painter.drawText(QRectF(place.x() + kMark + 6, place.y(), room, metrics.height()),
                     Qt::AlignLeft | Qt::AlignVCenter,
                     metrics.elidedText(entry.text, Qt::ElideMiddle, room));
  });
}

QColor seriesColor(std::size_t index, const Theme& theme) {
  static constexpr std::array<QRgb, 7> colors = {0xffe69f00, 0xff56b4e9, 0xff009e73, 0xffcc79a7,
                                                 0xffd55e00, 0xff3d87c9, 0xfff0e442};
  const QColor color(colors[index % colors.size()]);
  return theme.dark ? color : color.darker(135);
}

}  // namespace rewardloom
