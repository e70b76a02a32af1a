#include "editor/rewards/step_histogram.h"

#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "editor/rewards/plot_axes.h"

namespace rewardloom {

StepHistogram::StepHistogram(const Theme& theme, QWidget* parent)
    : RewardView(theme, tr("Distribution at one iteration"), parent) {}

void StepHistogram::setRow(const HistogramRow* row) {
  row_ = row ? std::optional(*row) : std::nullopt;
  changed();
}

QRectF StepHistogram::plot(const QFontMetricsF& metrics) const {
  return QRectF(rect()).adjusted(kLeftMargin, 10 + 2 * metrics.height(), -10, -kBottomMargin);
}

void StepHistogram::drawPicture(QPainter& painter) const {
  if (!row_) return drawNotice(painter, tr("nothing recorded at this iteration"));
  const Distribution& d = row_->distribution;
  const QFontMetricsF metrics(painter.font());
  QString head = tr("iteration %1: %2 values").arg(row_->iteration).arg(d.count);
  if (d.absent > 0) head += tr(", %1 absent").arg(d.absent);
  if (d.nonfinite > 0) head += tr(", %1 not finite").arg(d.nonfinite);
  painter.setPen(theme().text);
  const QRectF line(kLeftMargin, 4, width() - kLeftMargin - 10, metrics.height());
  painter.drawText(line, Qt::AlignLeft | Qt::AlignVCenter,
                   metrics.elidedText(head, Qt::ElideRight, line.width()));
  if (d.count == 0) return;
  const QString numbers = tr("mean %1, std %2, min %3, median %4, max %5")
                              .arg(d.mean, 0, 'g', 4)
                              .arg(d.std, 0, 'g', 4)
                              .arg(d.min, 0, 'g', 4)
                              .arg(d.quantiles[3], 0, 'g', 4)
                              .arg(d.max, 0, 'g', 4);
  painter.setPen(theme().faintText);
  painter.drawText(line.translated(0, metrics.height()), Qt::AlignLeft | Qt::AlignVCenter,
                   metrics.elidedText(numbers, Qt::ElideRight, line.width()));
  if (d.bins.empty()) return;
  PlotAxes axes;
  axes.area = plot(metrics);
  axes.x = d.hi > d.lo ? AxisRange{d.lo, d.hi} : AxisRange{d.lo - 0.5, d.lo + 0.5};
  const auto most = static_cast<double>(*std::max_element(d.bins.begin(), d.bins.end()));
  axes.y = {0, std::max(1.0, most * 1.06)};
  paintAxes(painter, axes, theme());
  painter.setPen(Qt::NoPen);
  painter.setBrush(seriesColor(1, theme()));
  if (d.hi <= d.lo) {
    const double x = axes.sx(d.lo);
    painter.drawRect(QRectF(QPointF(x - 6, axes.sy(most)), QPointF(x + 6, axes.area.bottom())));
    return;
  }
  const double wide = axes.area.width() / static_cast<double>(d.bins.size());
  for (std::size_t i = 0; i < d.bins.size(); ++i) {
    if (d.bins[i] == 0) continue;
    const double x = axes.area.left() + wide * static_cast<double>(i);
    const double y = std::min(axes.sy(static_cast<double>(d.bins[i])), axes.area.bottom() - 1);
    painter.drawRect(QRectF(x, y, std::max(1.0, wide - 1), axes.area.bottom() - y));
  }
}

void StepHistogram::mouseMoveEvent(QMouseEvent* event) {
  if (!row_ || row_->distribution.bins.empty()) return;
  const Distribution& d = row_->distribution;
  const QRectF area = plot(QFontMetricsF(font()));
  if (!area.contains(event->position())) return;
  const double share = (event->position().x() - area.left()) / area.width();
  const auto bins = static_cast<double>(d.bins.size());
  const auto bin = static_cast<std::size_t>(std::clamp(share * bins, 0.0, bins - 1));
  const double wide = (d.hi - d.lo) / bins;
  const double from = d.lo + wide * static_cast<double>(bin);
  QToolTip::showText(event->globalPosition().toPoint(),
                     tr("%1 values from %2 to %3")
                         .arg(d.bins[bin])
                         .arg(from, 0, 'g', 4)
                         .arg(from + wide, 0, 'g', 4),
                     this);
}

void StepHistogram::writeCsv(QTextStream& out) const {
  out << "iteration,from,to,count\n";
  if (!row_) return;
  const Distribution& d = row_->distribution;
  const double wide = d.bins.empty() ? 0 : (d.hi - d.lo) / static_cast<double>(d.bins.size());
  for (std::size_t i = 0; i < d.bins.size(); ++i) {
    const double from = d.lo + wide * static_cast<double>(i);
    out << row_->iteration << ',' << csvNumber(from) << ',' << csvNumber(from + wide) << ','
        << static_cast<qulonglong>(d.bins[i]) << '\n';
  }
}

}  // namespace rewardloom
