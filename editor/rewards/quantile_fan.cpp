#include "editor/rewards/quantile_fan.h"

#include <algorithm>
#include <cmath>

#include "editor/rewards/custom_plot.h"

namespace rewardloom {

QuantileFan::QuantileFan(const Theme& theme, QWidget* parent)
    : CurveView(theme, tr("Quantiles over iterations"), parent) {
  for (QCPGraph*& graph : quantiles_) graph = addGraph();
  // From the outside in: each upper line is filled down to its lower one.
  for (std::size_t q = 0; q < 3; ++q) quantiles_[6 - q]->setChannelFillGraph(quantiles_[q]);
  mean_ = addGraph();
}

void QuantileFan::setRows(const std::vector<HistogramRow>& rows) {
  points_.clear();
  for (const HistogramRow& row : rows) {
    if (row.distribution.count == 0) continue;
    points_.push_back({row.iteration, row.distribution.mean, row.distribution.quantiles});
  }
  changed();
}

QString QuantileFan::notice() const {
  return points_.empty() ? tr("nothing recorded yet") : QString();
}

AxisRange QuantileFan::across() const { return iterationsOf(points_); }

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

void QuantileFan::dress() {
  QColor band = theme().selection;
  band.setAlpha(55);
  for (std::size_t q = 0; q < 3; ++q) {
    quantiles_[q]->setPen(Qt::NoPen);
    quantiles_[6 - q]->setPen(Qt::NoPen);
    quantiles_[6 - q]->setBrush(band);
  }
  quantiles_[3]->setPen(QPen(theme().text, 1.8));
  mean_->setPen(QPen(seriesColor(0, theme()), 1.4, Qt::DashLine));
}

void QuantileFan::fill(const AxisRange& seen, int pixels) {
  const auto placeOf = [](const Point& p) { return static_cast<double>(p.iteration); };
  const IndexRange rows = seenRows(points_, seen, placeOf);
  std::array<QVector<QCPGraphData>, 7> lines;
  QVector<QCPGraphData> mean;
  AxisRange upright = AxisRange::none();
  eachPixelRange(rows, pixels, [&](std::size_t from, std::size_t to) {
    // Where several iterations share a pixel, its quantiles are their means.
    Point sum;
    for (std::size_t i = from; i < to; ++i) {
      for (std::size_t q = 0; q < 7; ++q) sum.quantiles[q] += points_[i].quantiles[q];
      upright.hold(points_[i].quantiles.front());
      upright.hold(points_[i].quantiles.back());
      upright.hold(points_[i].mean);
      sum.mean += points_[i].mean;
    }
    const auto n = static_cast<double>(to - from);
    const double x = (placeOf(points_[from]) + placeOf(points_[to - 1])) / 2;
    for (std::size_t q = 0; q < 7; ++q) lines[q].append({x, sum.quantiles[q] / n});
    mean.append({x, sum.mean / n});
  });
  for (std::size_t q = 0; q < 7; ++q) quantiles_[q]->data()->set(lines[q], true);
  mean_->data()->set(mean, true);
  mean_->setScatterStyle(mean.size() == 1 ? QCPScatterStyle(QCPScatterStyle::ssDisc, 4)
                                          : QCPScatterStyle());
  upright = upright.padded();
  plot().yAxis->setRange(upright.low, upright.high);
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
