#include "editor/rewards/group_spread.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/custom_plot.h"
#include "editor/rewards/quantile_fan.h"

namespace rewardloom {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

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
    : CurveView(theme, tr("Spread within groups"), parent),
      low_(addGraph()),
      high_(addGraph()),
      mean_(addGraph()),
      noSignal_(addRightGraph()) {
  high_->setChannelFillGraph(low_);
  plot().yAxis2->setRange(0, 100);
}

void GroupSpread::setPoints(std::vector<GroupSpreadPoint> points) {
  points_ = std::move(points);
  changed();
}

QString GroupSpread::notice() const {
  return points_.empty()
             ? tr("nothing recorded about groups: this value has no group ids, or the run is of a "
                  "version that did not record it")
             : QString();
}

AxisRange GroupSpread::across() const { return iterationsOf(points_); }

bool GroupSpread::spreadKnown() const {
  return std::any_of(points_.begin(), points_.end(),
                     [](const GroupSpreadPoint& p) { return std::isfinite(p.mean); });
}

CurveView::Remark GroupSpread::remark() const {
  return {spreadKnown() ? QString() : tr("the spread itself was not recorded"), {}};
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
  if (spreadKnown()) {
    entries.push_back({seriesColor(1, theme()),
                       std::isfinite(point->mean)
                           ? tr("spread within groups (std)  %1").arg(point->mean, 0, 'g', 4)
                           : tr("spread within groups (std)  none"),
                       Qt::SolidLine});
  }
  entries.push_back(
      {seriesColor(0, theme()),
       tr("groups without signal (right)  %1 %").arg(100 * point->noSignal, 0, 'f', 1),
       Qt::DashLine});
  return entries;
}

void GroupSpread::dress() {
  QColor band = seriesColor(1, theme());
  mean_->setPen(QPen(band, 1.8));
  band.setAlpha(70);
  high_->setBrush(band);
  high_->setPen(Qt::NoPen);
  low_->setPen(Qt::NoPen);
  noSignal_->setPen(QPen(seriesColor(0, theme()), 1.8, Qt::DashLine));
  plot().yAxis2->setTickLabelColor(seriesColor(0, theme()));
}

void GroupSpread::fill(const AxisRange& seen, int pixels) {
  const auto placeOf = [](const GroupSpreadPoint& p) { return static_cast<double>(p.iteration); };
  QVector<QCPGraphData> mean, high, low, share;
  AxisRange upright = AxisRange::none();
  upright.hold(0);
  eachPixelRange(seenRows(points_, seen, placeOf), pixels, [&](std::size_t from, std::size_t to) {
    GroupSpreadPoint sum;
    int known = 0;
    for (std::size_t i = from; i < to; ++i) {
      sum.noSignal += points_[i].noSignal;
      if (!std::isfinite(points_[i].mean)) continue;
      upright.hold(points_[i].high);
      upright.hold(points_[i].mean);
      sum.mean += points_[i].mean;
      sum.low += points_[i].low;
      sum.high += points_[i].high;
      ++known;
    }
    const double x = (placeOf(points_[from]) + placeOf(points_[to - 1])) / 2;
    share.append({x, 100 * sum.noSignal / static_cast<double>(to - from)});
    if (known == 0) return;
    mean.append({x, sum.mean / known});
    low.append({x, sum.low / known});
    high.append({x, sum.high / known});
  });
  mean_->data()->set(mean, true);
  low_->data()->set(low, true);
  high_->data()->set(high, true);
  noSignal_->data()->set(share, true);
  plot().yAxis->setRange(0, upright.high > 0 ? upright.high * 1.06 : 1);
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
