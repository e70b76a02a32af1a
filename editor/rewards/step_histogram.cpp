#include "editor/rewards/step_histogram.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "editor/rewards/custom_plot.h"

namespace rewardloom {

StepHistogram::StepHistogram(const Theme& theme, QWidget* parent)
    : CurveView(theme, tr("Distribution at one iteration"), parent),
      bars_(new QCPBars(plot().xAxis, plot().yAxis)) {
  connect(&plot(), &QCustomPlot::mouseMove, this, [this](QMouseEvent* event) {
    tellBin(event->position(), event->globalPosition().toPoint());
  });
}

void StepHistogram::setRow(const HistogramRow* row) {
  row_ = row ? std::optional(*row) : std::nullopt;
  changed();
}

QString StepHistogram::notice() const {
  return row_ ? QString() : tr("nothing recorded at this iteration");
}

double StepHistogram::placeOf(std::int64_t) const { return std::nan(""); }

double StepHistogram::binWidth() const {
  const Distribution& d = row_->distribution;
  return d.bins.empty() ? 0 : (d.hi - d.lo) / static_cast<double>(d.bins.size());
}

AxisRange StepHistogram::across() const {
  if (!row_) return {0, 1};
  const Distribution& d = row_->distribution;
  if (d.hi > d.lo) return {d.lo, d.hi};
  return std::isfinite(d.lo) ? AxisRange{d.lo - 0.5, d.lo + 0.5} : AxisRange{0, 1};
}

std::vector<LegendEntry> StepHistogram::legend() const {
  const Distribution& d = row_->distribution;
  QString head = tr("iteration %1: %2 values").arg(row_->iteration).arg(d.count);
  if (d.absent > 0) head += tr(", %1 absent").arg(d.absent);
  if (d.nonfinite > 0) head += tr(", %1 not finite").arg(d.nonfinite);
  return {{seriesColor(1, theme()), head, Qt::SolidLine}};
}

CurveView::Remark StepHistogram::remark() const {
  const Distribution& d = row_->distribution;
  if (d.count == 0) return {};
  return {tr("mean %1, std %2, min %3, median %4, max %5")
              .arg(d.mean, 0, 'g', 4)
              .arg(d.std, 0, 'g', 4)
              .arg(d.min, 0, 'g', 4)
              .arg(d.quantiles[3], 0, 'g', 4)
              .arg(d.max, 0, 'g', 4),
          {}};
}

void StepHistogram::dress() {
  bars_->setBrush(seriesColor(1, theme()));
  bars_->setPen(QPen(theme().canvas, 0));
}

void StepHistogram::fill(const AxisRange&, int) {
  const Distribution& d = row_->distribution;
  const double wide = binWidth();
  // All values alike: a bar that is seen, however wide nothing is.
  constexpr double pixels = 12;
  bars_->setWidthType(wide > 0 ? QCPBars::wtPlotCoords : QCPBars::wtAbsolute);
  bars_->setWidth(wide > 0 ? wide : pixels);
  QVector<QCPBarsData> bars;
  double most = 0;
  for (std::size_t i = 0; i < d.bins.size(); ++i) {
    if (d.bins[i] == 0) continue;
    const auto count = static_cast<double>(d.bins[i]);
    most = std::max(most, count);
    bars.append({d.lo + wide * (static_cast<double>(i) + 0.5), count});
  }
  bars_->data()->set(bars, true);
  plot().yAxis->setRange(0, std::max(1.0, most * 1.06));
}

void StepHistogram::tellBin(QPointF at, QPoint onScreen) {
  if (!row_ || row_->distribution.bins.empty()) return;
  if (!plot().axisRect()->rect().contains(at.toPoint())) return;
  const Distribution& d = row_->distribution;
  const double wide = binWidth();
  if (wide <= 0) return;
  const auto bins = static_cast<double>(d.bins.size());
  const double place = (plot().xAxis->pixelToCoord(at.x()) - d.lo) / wide;
  const auto bin = static_cast<std::size_t>(std::clamp(place, 0.0, bins - 1));
  const double from = d.lo + wide * static_cast<double>(bin);
  QToolTip::showText(onScreen,
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
  const double wide = binWidth();
  for (std::size_t i = 0; i < d.bins.size(); ++i) {
    const double from = d.lo + wide * static_cast<double>(i);
    out << row_->iteration << ',' << csvNumber(from) << ',' << csvNumber(from + wide) << ','
        << static_cast<qulonglong>(d.bins[i]) << '\n';
  }
}

}  // namespace rewardloom
