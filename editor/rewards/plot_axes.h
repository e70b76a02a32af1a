// From values to places on the screen, and the frame, ticks and titles around a drawing.
#pragma once
#include <QPainter>
#include <QRectF>
#include <QString>
#include <vector>

#include "editor/theme.h"

namespace rewardloom {

struct AxisRange {
  double low = 0;
  double high = 1;
  double span() const { return high - low; }
  /// Grows to hold a finite value; the first one replaces an empty range.
  void hold(double value);
  bool empty() const { return low > high; }
  static AxisRange none();
  /// With some air at both ends; a range of one value becomes one around it.
  AxisRange padded(double share = 0.06) const;
};

/// Round numbers that divide a range into about `count` parts.
std::vector<double> axisTicks(double low, double high, int count);

/// As few digits as tell neighbouring ticks apart.
QString tickText(double tick, double step);

struct PlotAxes {
  QRectF area;
  AxisRange x;
  AxisRange y;
  double sx(double value) const { return area.left() + (value - x.low) / x.span() * area.width(); }
  double sy(double value) const {
    return area.bottom() - (value - y.low) / y.span() * area.height();
  }
  double xAt(double place) const { return x.low + (place - area.left()) / area.width() * x.span(); }
  double yAt(double place) const {
    return y.low + (area.bottom() - place) / area.height() * y.span();
  }
};

inline constexpr double kLeftMargin = 58;
inline constexpr double kBottomMargin = 24;

/// Grid lines, tick texts left and below, and the frame.
void paintAxes(QPainter& painter, const PlotAxes& axes, const Theme& theme,
               const QString& below = {});
/// Tick texts of another scale on the right side.
void paintRightAxis(QPainter& painter, const PlotAxes& axes, const QColor& color);

/// Entries in rows above a plot: a mark of that colour and a text. Returns the height it took.
struct LegendEntry {
  QColor color;
  QString text;
  Qt::PenStyle line = Qt::SolidLine;
};
/// The first entries, as many as leave most of a view's height to the plot.
std::vector<LegendEntry> fittingLegend(const QPainter& painter, std::vector<LegendEntry> entries,
                                       double width, double viewHeight);
double legendHeight(const QPainter& painter, const std::vector<LegendEntry>& entries, double width);
void paintLegend(QPainter& painter, const std::vector<LegendEntry>& entries, QPointF topLeft,
                 double width, const Theme& theme);

/// One colour per curve or part, told apart by people with any of the three common deficiencies.
QColor seriesColor(std::size_t index, const Theme& theme);

}  // namespace rewardloom
