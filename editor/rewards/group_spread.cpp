#include "editor/rewards/group_spread.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/quantile_fan.h"

namespace rewardloom {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kRightMargin = 52;

}  // namespace

std::vector<GroupSpreadPoint> groupSpread(const std::vector<HistogramRow>& rows) {
  std::vector<GroupSpreadPoint> points;
  for (const HistogramRow& row : rows) {
    const Distribution& d = row.distribution;
    const auto groups = static_cast<double>(d.count + d.absent);
    if (groups == 0) continue;
    points.push_back({row.iteration, d.count > 0 ? d.mean : kNone,
                      d.count > 0 ? d.quantiles[2] : kNone, d.count > 0 ? d.quantiles[4] : kNone,
                      static_cast<double>(d.absent) / groups});
  }
  return points;
}

std::vector<GroupSpreadPoint> groupSpread(const MetricSeries& constantGroups) {
  std::vector<GroupSpreadPoint> points;
  for (const SeriesPoint& point : constantGroups.points()) {
    points.push_back({point.iteration, kNone, kNone, kNone, point.value});
  }
  return points;
}

GroupSpread::GroupSpread(const Theme& theme, QWidget* parent)
    : RewardView(theme, tr("Spread within groups"), parent) {}

void GroupSpread::setPoints(std::vector<GroupSpreadPoint> points) {
  points_ = std::move(points);
  changed();
}

std::vector<LegendEntry> GroupSpread::legend() const {
  const GroupSpreadPoint* point = &points_.back();
  if (cursorIteration()) {
    const auto after =
        std::upper_bound(points_.begin(), points_.end(), *cursorIteration(),
                         [](std::int64_t i, const GroupSpreadPoint& p) { return i < p.iteration; });
    point = after == points_.begin() ? &points_.front() : &*std::prev(after);
  }
  std::vector<LegendEntry> entries;
  const bool spread = std::any_of(points_.begin(), points_.end(),
                                  [](const GroupSpreadPoint& p) { return std::isfinite(p.mean); });
  if (spread) {
    entries.push_back({seriesColor(1, theme()),
                       std::isfinite(point->mean)
                           ? tr("spread within groups (std)  %1").arg(point->mean, 0, 'g', 4)
                           : tr("spread within groups (std)  none"),
                       Qt::SolidLine});
  }
  entries.push_back({seriesColor(0, theme()),
                     tr("groups without signal  %1 %").arg(100 * point->noSignal, 0, 'f', 1),
                     Qt::DashLine});
  if (!spread) {
    entries.push_back({Qt::transparent, tr("the spread itself was not recorded"), Qt::NoPen});
  }
  return entries;
}

PlotAxes GroupSpread::axes(double legendHeight) const {
  PlotAxes axes;
  axes.area = QRectF(rect()).adjusted(kLeftMargin, 8 + std::min(legendHeight, height() / 2.0),
                                      -kRightMargin, -kBottomMargin);
  axes.x = {static_cast<double>(points_.front().iteration),
            static_cast<double>(points_.back().iteration)};
  if (axes.x.span() <= 0) axes.x = {axes.x.low - 0.5, axes.x.low + 0.5};
  AxisRange y = AxisRange::none();
  y.hold(0);
  for (const GroupSpreadPoint& point : points_) {
    y.hold(point.high);
    y.hold(point.mean);
  }
  axes.y = {0, y.high > 0 ? y.high * 1.06 : 1};
  return axes;
}

void GroupSpread::drawPicture(QPainter& painter) const {
  if (points_.empty()) {
    return drawNotice(painter, tr("nothing recorded about groups: this value has no group ids, or "
                                  "the run is of a version that did not record it"));
  }
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  const PlotAxes frame = axes(legendHeight(painter, entries, room));
  PlotAxes percent = frame;
  percent.y = {0, 100};
  paintAxes(painter, frame, theme(), tr("iteration"));
  paintRightAxis(painter, percent, seriesColor(0, theme()));
  painter.setClipRect(frame.area);
  painter.setRenderHint(QPainter::Antialiasing);
  QPolygonF mean, high, low, share;
  eachPixelRange(points_.size(), frame.area.width(), [&](std::size_t from, std::size_t to) {
    GroupSpreadPoint sum;
    int known = 0;
    for (std::size_t i = from; i < to; ++i) {
      sum.noSignal += points_[i].noSignal;
      if (!std::isfinite(points_[i].mean)) continue;
      sum.mean += points_[i].mean;
      sum.low += points_[i].low;
      sum.high += points_[i].high;
      ++known;
    }
    const double x =
        frame.sx(static_cast<double>(points_[from].iteration + points_[to - 1].iteration) / 2);
    share << QPointF(x, percent.sy(100 * sum.noSignal / static_cast<double>(to - from)));
    if (known == 0) return;
    mean << QPointF(x, frame.sy(sum.mean / known));
    low << QPointF(x, frame.sy(sum.low / known));
    high << QPointF(x, frame.sy(sum.high / known));
  });
  QPolygonF band = high;
  for (auto it = low.crbegin(); it != low.crend(); ++it) band << *it;
  QColor fill = seriesColor(1, theme());
  fill.setAlpha(70);
  painter.setPen(Qt::NoPen);
  painter.setBrush(fill);
  painter.drawPolygon(band);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(seriesColor(1, theme()), 1.8));
  painter.drawPolyline(mean);
  painter.setPen(QPen(seriesColor(0, theme()), 1.8, Qt::DashLine));
  painter.drawPolyline(share);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipping(false);
  paintLegend(painter, entries, {kLeftMargin, 4}, room, theme());
}

void GroupSpread::drawCursor(QPainter& painter) const {
  const double room = width() - kLeftMargin - 10;
  if (points_.empty() || !cursorIteration()) return;
  const PlotAxes frame =
      axes(legendHeight(painter, fittingLegend(painter, legend(), room, height()), room));
  paintCursorLine(painter, frame, *cursorIteration(), theme());
}

void GroupSpread::mouseMoveEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (points_.empty() || !iterationUnder(axes(0), event->position().x(), iteration)) return;
  Q_EMIT iterationHovered(iteration);
}

void GroupSpread::mouseReleaseEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (points_.empty() || !iterationUnder(axes(0), event->position().x(), iteration)) return;
  Q_EMIT iterationChosen(iteration);
}

void GroupSpread::writeCsv(QTextStream& out) const {
  out << "iteration,within_group_std_mean,within_group_std_q25,within_group_std_q75,"
         "share_without_signal\n";
  for (const GroupSpreadPoint& p : points_) {
    out << p.iteration << ',' << csvNumber(p.mean) << ',' << csvNumber(p.low) << ','
        << csvNumber(p.high) << ',' << csvNumber(p.noSignal) << '\n';
  }
}

}  // namespace rewardloom
