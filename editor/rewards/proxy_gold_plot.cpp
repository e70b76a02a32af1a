#include "editor/rewards/proxy_gold_plot.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/quantile_fan.h"

namespace rewardloom {
namespace {

constexpr double kRightMargin = 58;

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
    : RewardView(theme, tr("Proxy against gold"), parent) {}

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
  changed();
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

double ProxyGoldPlot::place(std::int64_t iteration) const {
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
    const double x = place(points[i].iteration);
    if (!std::isfinite(x) || !std::isfinite(points[i].value)) continue;
    list.push_back({points[i].iteration, x, points[i].value, means[i]});
  }
  return list;
}

ProxyGoldPlot::Frame ProxyGoldPlot::frame(double legendHeight) const {
  Frame f;
  f.gold.area = QRectF(rect()).adjusted(kLeftMargin, 8 + std::min(legendHeight, height() / 2.0),
                                        -kRightMargin, -kBottomMargin);
  f.proxy.area = f.gold.area;
  AxisRange x = AxisRange::none();
  const auto upright = [&](const std::vector<CurvePoint>& points) {
    AxisRange y = AxisRange::none();
    for (const CurvePoint& point : points) {
      y.hold(point.value);
      x.hold(place(point.iteration));
    }
    return y.padded();
  };
  f.gold.y = upright(data_.gold);
  f.proxy.y = upright(data_.proxy);
  if (x.empty()) x = {0, 1};
  if (x.span() <= 0) x = {x.low - 0.5, x.low + 0.5};
  f.gold.x = f.proxy.x = x;
  return f;
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
  if (finding_ && finding_->suspect) {
    entries.push_back({theme().error, verdict(), Qt::SolidLine});
  } else if (finding_) {
    entries.push_back({theme().faintText, verdict(), Qt::DotLine});
  }
  return entries;
}

void ProxyGoldPlot::drawSpots(QPainter& painter, const PlotAxes& axes,
                              const std::vector<Spot>& spots, const QColor& color,
                              Qt::PenStyle line) const {
  // Faint: every value. Strong: the moving mean, which is what the finding is about.
  QColor faint = color;
  faint.setAlpha(90);
  QPolygonF means;
  if (across_ == Across::rootKl) {
    painter.setPen(Qt::NoPen);
    painter.setBrush(faint);
    for (const Spot& spot : spots) {
      painter.drawEllipse(QPointF(axes.sx(spot.x), axes.sy(spot.y)), 2.2, 2.2);
    }
    painter.setBrush(Qt::NoBrush);
    for (const Spot& spot : spots) means << QPointF(axes.sx(spot.x), axes.sy(spot.mean));
  } else {
    QPolygonF values;
    QList<QLineF> extremes;
    eachPixelRange(spots.size(), axes.area.width(), [&](std::size_t from, std::size_t to) {
      AxisRange y = AxisRange::none();
      double mean = 0;
      for (std::size_t i = from; i < to; ++i) {
        y.hold(spots[i].y);
        mean += spots[i].mean;
      }
      const double x = axes.sx((spots[from].x + spots[to - 1].x) / 2);
      if (to - from == 1)
        values << QPointF(x, axes.sy(y.low));
      else
        extremes << QLineF(x, axes.sy(y.low), x, axes.sy(y.high));
      means << QPointF(x, axes.sy(mean / static_cast<double>(to - from)));
    });
    painter.setPen(QPen(faint, 1));
    painter.drawPolyline(values);
    painter.drawLines(extremes);
  }
  painter.setPen(QPen(color, 2.2, line));
  painter.drawPolyline(means);
  if (means.size() == 1) painter.drawEllipse(means[0], 2, 2);
}

void ProxyGoldPlot::drawFinding(QPainter& painter, const Frame& f) const {
  if (!finding_) return;
  const double peak = place(finding_->peak);
  const double until = place(finding_->until);
  if (!std::isfinite(peak)) return;
  const double x = f.gold.sx(peak);
  if (finding_->suspect && std::isfinite(until)) {
    QColor shade = theme().error;
    shade.setAlpha(theme().dark ? 46 : 34);
    QRectF region(QPointF(x, f.gold.area.top()), QPointF(f.gold.sx(until), f.gold.area.bottom()));
    painter.fillRect(region.normalized(), shade);
  }
  painter.setPen(QPen(finding_->suspect ? theme().error : theme().faintText, 1.2, Qt::DotLine));
  painter.drawLine(QPointF(x, f.gold.area.top()), QPointF(x, f.gold.area.bottom()));
}

void ProxyGoldPlot::drawPicture(QPainter& painter) const {
  if (data_.proxy.empty() || data_.gold.empty()) {
    return drawNotice(painter, tr("choose a reward that is trained on and one that is only "
                                  "measured"));
  }
  if (across_ == Across::rootKl && data_.kl.empty()) {
    return drawNotice(painter, tr("choose a divergence (KL) to draw over its square root"));
  }
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  const Frame f = frame(legendHeight(painter, entries, room));
  paintAxes(painter, f.gold, theme(),
            across_ == Across::iterations ? tr("iteration") : QStringLiteral("√KL"));
  paintRightAxis(painter, f.proxy, proxyColor());
  painter.setClipRect(f.gold.area);
  painter.setRenderHint(QPainter::Antialiasing);
  drawFinding(painter, f);
  drawSpots(painter, f.proxy, spots(data_.proxy), proxyColor(), Qt::DashLine);
  drawSpots(painter, f.gold, spots(data_.gold), goldColor(), Qt::SolidLine);
  if (finding_) {
    const double x = place(finding_->peak);
    if (std::isfinite(x)) {
      painter.setPen(QPen(theme().canvas, 1.5));
      painter.setBrush(goldColor());
      painter.drawEllipse(QPointF(f.gold.sx(x), f.gold.sy(finding_->gold_at_peak)), 5, 5);
      painter.setBrush(Qt::NoBrush);
    }
  }
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipping(false);
  paintLegend(painter, entries, {kLeftMargin, 4}, room, theme());
}

void ProxyGoldPlot::drawCursor(QPainter& painter) const {
  const double room = width() - kLeftMargin - 10;
  if (!cursorIteration() || data_.gold.empty() || data_.proxy.empty()) return;
  const double x = place(*cursorIteration());
  if (!std::isfinite(x)) return;
  const Frame f =
      frame(legendHeight(painter, fittingLegend(painter, legend(), room, height()), room));
  const double at = f.gold.sx(x);
  if (at < f.gold.area.left() || at > f.gold.area.right()) return;
  painter.setPen(QPen(theme().selection, 1.5));
  painter.drawLine(QPointF(at, f.gold.area.top()), QPointF(at, f.gold.area.bottom()));
}

std::optional<std::int64_t> ProxyGoldPlot::iterationNear(QPointF at) const {
  if (data_.gold.empty() || data_.proxy.empty()) return std::nullopt;
  const Frame f = frame(0);
  if (at.x() < f.gold.area.left() || at.x() > f.gold.area.right()) return std::nullopt;
  const double x = f.gold.xAt(at.x());
  if (across_ == Across::iterations) return static_cast<std::int64_t>(std::lround(x));
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

void ProxyGoldPlot::mouseMoveEvent(QMouseEvent* event) {
  if (const auto iteration = iterationNear(event->position())) Q_EMIT iterationHovered(*iteration);
}

void ProxyGoldPlot::mouseReleaseEvent(QMouseEvent* event) {
  if (const auto iteration = iterationNear(event->position())) Q_EMIT iterationChosen(*iteration);
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
