#include "editor/rewards/proxy_gold_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/custom_plot.h"

namespace rewardloom {
namespace {

double latest(const std::vector<CurvePoint>& points, std::optional<std::int64_t> at) {
  if (points.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (!at) return points.back().value;
  const auto after =
      std::upper_bound(points.begin(), points.end(), *at,
                       [](std::int64_t i, const CurvePoint& point) { return i < point.iteration; });
  return after == points.begin() ? std::numeric_limits<double>::quiet_NaN()
                                 : std::prev(after)->value;
}

}  // namespace

QString shortName(const std::string& name) {
  const std::size_t last = name.rfind('/');
  const std::size_t before =
      last == std::string::npos || last == 0 ? std::string::npos : name.rfind('/', last - 1);
  return QString::fromStdString(before == std::string::npos ? name : name.substr(before + 1));
}

std::vector<CurvePoint> curvePoints(const MetricSeries& series) {
  std::vector<CurvePoint> points;
  points.reserve(series.size());
  for (const SeriesPoint& point : series.points()) points.push_back({point.iteration, point.value});
  return points;
}

ProxyGoldPlot::ProxyGoldPlot(const Theme& theme, QWidget* parent)
    : CurveView(theme, tr("Proxy against gold"), parent),
      stretch_(new QCPItemRect(&plot())),
      peakLine_(new QCPItemStraightLine(&plot())),
      proxy_(addStrand(true)),
      gold_(addStrand(false)),
      peak_(addGraph()) {
  stretch_->setLayer(QStringLiteral("grid"));
  peakLine_->setLayer(QStringLiteral("grid"));
  stretch_->setPen(Qt::NoPen);
  // From the bottom to the top, whatever the axis shows.
  for (QCPItemPosition* corner : {stretch_->topLeft, stretch_->bottomRight}) {
    corner->setTypeY(QCPItemPosition::ptAxisRectRatio);
  }
  peak_->setLineStyle(QCPGraph::lsNone);
}

ProxyGoldPlot::Strand ProxyGoldPlot::addStrand(bool right) {
  QCPGraph* values = right ? addRightGraph() : addGraph();
  return {values, new QCPCurve(values->keyAxis(), values->valueAxis())};
}

void ProxyGoldPlot::setData(ProxyGoldData data) {
  data_ = std::move(data);
  finding_ = overoptimisation(data_.proxy, data_.gold);
  rootKl_ = moving_means(data_.kl, smoothing_window(data_.kl.size()));
  // An estimate of a divergence may be below zero by chance.
  for (double& kl : rootKl_) kl = std::sqrt(std::max(kl, 0.0));
  changed();
}

void ProxyGoldPlot::setAcross(Across across) {
  across_ = across;
  showAll();
}

QString ProxyGoldPlot::verdict() const {
  if (!finding_) return {};
  const Overoptimisation& f = *finding_;
  if (!f.suspect) {
    return tr("gold is highest at %1; no sign that proxy rises at its cost").arg(f.peak);
  }
  return tr("suspect since %1: proxy %2 → %3, gold %4 → %5")
      .arg(f.peak)
      .arg(f.proxy_at_peak, 0, 'g', 3)
      .arg(f.proxy_now, 0, 'g', 3)
      .arg(f.gold_at_peak, 0, 'g', 3)
      .arg(f.gold_now, 0, 'g', 3);
}

double ProxyGoldPlot::placeOf(std::int64_t iteration) const {
  if (across_ == Across::iterations) return static_cast<double>(iteration);
  const auto after =
      std::upper_bound(data_.kl.begin(), data_.kl.end(), iteration,
                       [](std::int64_t i, const CurvePoint& point) { return i < point.iteration; });
  if (after == data_.kl.begin()) return std::numeric_limits<double>::quiet_NaN();
  return rootKl_[static_cast<std::size_t>(after - data_.kl.begin() - 1)];
}

std::vector<ProxyGoldPlot::Spot> ProxyGoldPlot::spots(const std::vector<CurvePoint>& points) const {
  const std::vector<double> means = moving_means(points, smoothing_window(points.size()));
  std::vector<Spot> list;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const double x = placeOf(points[i].iteration);
    if (!std::isfinite(x) || !std::isfinite(points[i].value)) continue;
    list.push_back({points[i].iteration, x, points[i].value, means[i]});
  }
  return list;
}

QString ProxyGoldPlot::notice() const {
  if (data_.proxy.empty() || data_.gold.empty()) {
    return tr("choose a reward that is trained on and one that is only measured");
  }
  if (across_ == Across::rootKl && data_.kl.empty()) {
    return tr("choose a divergence (KL) to draw over its square root");
  }
  return {};
}

AxisRange ProxyGoldPlot::across() const {
  AxisRange x = AxisRange::none();
  for (const auto* points : {&data_.gold, &data_.proxy}) {
    for (const CurvePoint& point : *points) x.hold(placeOf(point.iteration));
  }
  if (x.empty()) return {0, 1};
  return x.span() > 0 ? x : AxisRange{x.low - 0.5, x.low + 0.5};
}

QString ProxyGoldPlot::acrossTitle() const {
  return across_ == Across::iterations ? tr("iteration") : QStringLiteral("√KL");
}

std::vector<LegendEntry> ProxyGoldPlot::legend() const {
  const auto entry = [&](const QColor& color, const QString& role, const std::string& name,
                         const std::vector<CurvePoint>& points, Qt::PenStyle line) {
    const double value = latest(points, cursorIteration());
    QString text = QStringLiteral("%1: %2").arg(role, shortName(name));
    if (std::isfinite(value)) text += QStringLiteral("  %1").arg(value, 0, 'g', 4);
    return LegendEntry{color, text, line};
  };
  std::vector<LegendEntry> entries;
  entries.push_back(
      entry(goldColor(), tr("gold (left)"), data_.names.gold, data_.gold, Qt::SolidLine));
  entries.push_back(
      entry(proxyColor(), tr("proxy (right)"), data_.names.proxy, data_.proxy, Qt::DashLine));
  return entries;
}

CurveView::Remark ProxyGoldPlot::remark() const {
  return {verdict(), finding_ && finding_->suspect ? theme().error : theme().faintText};
}

void ProxyGoldPlot::dress() {
  dressStrand(proxy_, proxyColor(), Qt::DashLine);
  dressStrand(gold_, goldColor(), Qt::SolidLine);
  plot().yAxis2->setTickLabelColor(proxyColor());
  QColor shade = theme().error;
  shade.setAlpha(theme().dark ? 46 : 34);
  stretch_->setBrush(shade);
  peak_->setScatterStyle(
      QCPScatterStyle(QCPScatterStyle::ssCircle, QPen(theme().canvas, 1.5), goldColor(), 10));
}

void ProxyGoldPlot::dressStrand(const Strand& strand, const QColor& color, Qt::PenStyle line) {
  QColor faint = color;
  faint.setAlpha(90);
  strand.values->setPen(QPen(faint, 1));
  strand.means->setPen(QPen(color, 2.2, line));
}

AxisRange ProxyGoldPlot::fillStrand(const Strand& strand, const std::vector<Spot>& spots,
                                    const AxisRange& seen, int pixels) {
  const bool inOrder = across_ == Across::iterations;
  const auto rows = inOrder ? seenRows(spots, seen, [](const Spot& spot) { return spot.x; })
                            : IndexRange{0, spots.size()};
  QVector<QCPGraphData> values;
  QVector<QCPCurveData> means;
  AxisRange upright = AxisRange::none();
  const auto mean = [&](double x, double y) {
    means.append({static_cast<double>(means.size()), x, y});
  };
  if (inOrder) {
    eachPixelRange(rows, pixels, [&](std::size_t from, std::size_t to) {
      AxisRange y = AxisRange::none();
      double sum = 0;
      for (std::size_t i = from; i < to; ++i) {
        y.hold(spots[i].y);
        sum += spots[i].mean;
      }
      const double x = (spots[from].x + spots[to - 1].x) / 2;
      values.append({x, y.low});
      if (to - from > 1) values.append({x, y.high});
      mean(x, sum / static_cast<double>(to - from));
      upright.hold(y.low);
      upright.hold(y.high);
    });
  } else {
    for (const Spot& spot : spots) {
      values.append({spot.x, spot.y});
      mean(spot.x, spot.mean);
      if (spot.x >= seen.low && spot.x <= seen.high) upright.hold(spot.y);
    }
  }
  // Over a divergence, which goes up and down, values are dots: a line would only be in the way.
  const bool dots = !inOrder || values.size() == 1;
  strand.values->setLineStyle(dots ? QCPGraph::lsNone : QCPGraph::lsLine);
  strand.values->setScatterStyle(dots ? QCPScatterStyle(QCPScatterStyle::ssDisc, 4.4)
                                      : QCPScatterStyle());
  strand.values->setAntialiased(values.size() <= pixels);
  strand.values->data()->set(values, inOrder);
  strand.means->data()->set(means, true);
  return upright.padded();
}

void ProxyGoldPlot::fillFinding() {
  const double peak = finding_ ? placeOf(finding_->peak) : std::nan("");
  const double until = finding_ ? placeOf(finding_->until) : std::nan("");
  const bool placed = std::isfinite(peak);
  peakLine_->setVisible(placed);
  stretch_->setVisible(placed && finding_->suspect && std::isfinite(until));
  peak_->data()->clear();
  if (!placed) return;
  peakLine_->setPen(QPen(finding_->suspect ? theme().error : theme().faintText, 1.2, Qt::DotLine));
  peakLine_->point1->setCoords(peak, 0);
  peakLine_->point2->setCoords(peak, 1);
  stretch_->topLeft->setCoords(std::min(peak, until), 0);
  stretch_->bottomRight->setCoords(std::max(peak, until), 1);
  peak_->addData(peak, finding_->gold_at_peak);
}

void ProxyGoldPlot::fill(const AxisRange& seen, int pixels) {
  const AxisRange gold = fillStrand(gold_, spots(data_.gold), seen, pixels);
  const AxisRange proxy = fillStrand(proxy_, spots(data_.proxy), seen, pixels);
  plot().yAxis->setRange(gold.low, gold.high);
  plot().yAxis2->setRange(proxy.low, proxy.high);
  fillFinding();
}

std::optional<std::int64_t> ProxyGoldPlot::iterationAt(double x) const {
  if (across_ == Across::iterations) return std::llround(x);
  std::optional<std::int64_t> best;
  double distance = std::numeric_limits<double>::max();
  for (std::size_t i = 0; i < data_.kl.size(); ++i) {
    const double here = std::abs(rootKl_[i] - x);
    if (!(here < distance)) continue;
    distance = here;
    best = data_.kl[i].iteration;
  }
  return best;
}

void ProxyGoldPlot::writeCsv(QTextStream& out) const {
  out << "series,iteration,value,root_kl\n";
  const auto write = [&](const std::string& name, const std::vector<CurvePoint>& points) {
    for (const CurvePoint& point : points) {
      const auto after =
          std::upper_bound(data_.kl.begin(), data_.kl.end(), point.iteration,
                           [](std::int64_t i, const CurvePoint& p) { return i < p.iteration; });
      const double kl = after == data_.kl.begin()
                            ? std::numeric_limits<double>::quiet_NaN()
                            : rootKl_[static_cast<std::size_t>(after - data_.kl.begin() - 1)];
      out << csvField(QString::fromStdString(name)) << ',' << point.iteration << ','
          << csvNumber(point.value) << ',' << csvNumber(kl) << '\n';
    }
  };
  write(data_.names.gold, data_.gold);
  write(data_.names.proxy, data_.proxy);
}

}  // namespace rewardloom
