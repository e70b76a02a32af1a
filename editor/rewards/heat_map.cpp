#include "editor/rewards/heat_map.h"

#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/plot_axes.h"

namespace rewardloom {
namespace {

constexpr qsizetype kSmoothPoints = 400;
constexpr std::size_t kShades = 1024;

/// Dark blue to yellow: lightness rises evenly, so that it reads without colour too.
QRgb heatColor(float share, bool dark) {
  struct Stop {
    float at;
    int r, g, b;
  };
  static constexpr std::array<Stop, 5> stops{{{0.0F, 24, 28, 54},
                                              {0.25F, 44, 82, 138},
                                              {0.5F, 36, 141, 140},
                                              {0.75F, 120, 198, 88},
                                              {1.0F, 250, 231, 70}}};
  if (share <= 0) return dark ? qRgb(0x1f, 0x22, 0x27) : qRgb(0xff, 0xff, 0xff);
  const float x = std::clamp(std::sqrt(share), 0.0F, 1.0F);
  std::size_t i = 1;
  while (i + 1 < stops.size() && x > stops[i].at) ++i;
  const Stop& a = stops[i - 1];
  const Stop& b = stops[i];
  const float t = (x - a.at) / (b.at - a.at);
  const auto mix = [t](int from, int to) {
    return static_cast<int>(
        std::lround(static_cast<float>(from) + t * static_cast<float>(to - from)));
  };
  return qRgb(mix(a.r, b.r), mix(a.g, b.g), mix(a.b, b.b));
}

using Shades = std::array<QRgb, kShades>;

/// Colours by share; heatColor() takes its root, so that rare values keep shades of their own.
const Shades& shades(bool dark) {
  static const std::array<Shades, 2> tables = [] {
    std::array<Shades, 2> made{};
    for (std::size_t d = 0; d < 2; ++d) {
      for (std::size_t i = 0; i < kShades; ++i) {
        made[d][i] = heatColor(static_cast<float>(i) / (kShades - 1), d == 1);
      }
    }
    return made;
  }();
  return tables[dark ? 1 : 0];
}

QRgb shadeOf(float share, const Shades& table) {
  if (share <= 0) return table[0];
  const auto index = static_cast<std::size_t>(std::min(share, 1.0F) * (kShades - 1));
  return table[std::max<std::size_t>(index, 1)];
}

QString shortNumber(double value) { return QString::number(value, 'g', 4); }

}  // namespace

std::size_t HeatGrid::set(const std::vector<HistogramRow>& rows) {
  AxisRange range = AxisRange::none();
  for (const HistogramRow& row : rows) {
    if (row.distribution.count == 0) continue;
    range.hold(row.distribution.min);
    range.hold(row.distribution.max);
  }
  if (range.empty()) {
    *this = HeatGrid();
    return 0;
  }
  if (range.low == range.high) range = {range.low - 0.5, range.high + 0.5};
  std::size_t kept = 0;
  const auto markOf = [](const HistogramRow& row) {
    const Distribution& d = row.distribution;
    return Mark{row.iteration, d.count, d.mean, d.lo, d.hi};
  };
  if (range.low == low_ && range.high == high_) {
    while (kept < marks_.size() && kept < rows.size() && marks_[kept] == markOf(rows[kept])) ++kept;
  }
  // The last column alone may have been half written.
  const bool restart = kept + 1 < marks_.size();
  if (restart) used_ = {};
  iterations_.resize(kept);
  marks_.resize(kept);
  means_.resize(kept);
  peaks_.resize(kept);
  shares_.resize(kept * kBins);
  low_ = range.low;
  high_ = range.high;
  for (std::size_t i = kept; i < rows.size(); ++i) {
    marks_.push_back(markOf(rows[i]));
    add(rows[i]);
    const auto column = shares_.end() - kBins;
    peaks_.push_back(*std::max_element(column, shares_.end()));
  }
  for (std::size_t i = restart ? 0 : kept * kBins; i < shares_.size(); ++i) {
    if (shares_[i] > 0) used_[i % kBins] = true;
  }
  return kept;
}

void HeatGrid::add(const HistogramRow& row) {
  const Distribution& d = row.distribution;
  iterations_.push_back(row.iteration);
  means_.push_back(d.mean);
  const std::size_t start = shares_.size();
  shares_.resize(start + kBins, 0.0F);
  if (d.count == 0 || d.bins.empty()) return;
  const double width = (d.hi - d.lo) / static_cast<double>(d.bins.size());
  const double scale = kBins / (high_ - low_);
  const auto toBin = [&](double value) {
    return std::clamp(static_cast<int>(std::floor((value - low_) * scale)), 0, kBins - 1);
  };
  for (std::size_t b = 0; b < d.bins.size(); ++b) {
    if (d.bins[b] == 0) continue;
    // A bin's values are spread over the common bins that it covers.
    const double from = d.lo + width * static_cast<double>(b);
    const int first = toBin(from);
    const int last = std::max(first, width > 0 ? toBin(std::nextafter(from + width, from)) : first);
    const float each = static_cast<float>(d.bins[b]) / static_cast<float>(d.count) /
                       static_cast<float>(last - first + 1);
    for (int k = first; k <= last; ++k) shares_[start + static_cast<std::size_t>(k)] += each;
  }
}

float HeatGrid::typicalPeak() const {
  float sum = 0;
  int count = 0;
  for (const float peak : peaks_) {
    if (peak <= 0) continue;
    sum += peak;
    ++count;
  }
  return count == 0 ? 1 : sum / static_cast<float>(count);
}

std::array<float, HeatGrid::kBins> HeatGrid::shareOf(std::size_t from, std::size_t to) const {
  std::array<float, kBins> sum{};
  for (std::size_t column = from; column < to; ++column) {
    const float* shares = &shares_[column * kBins];
    for (std::size_t bin = 0; bin < kBins; ++bin) sum[bin] += shares[bin];
  }
  const float each = to > from ? 1.0F / static_cast<float>(to - from) : 0.0F;
  for (float& share : sum) share *= each;
  return sum;
}

HeatMap::HeatMap(const Theme& theme, QWidget* parent)
    : RewardView(theme, tr("Distribution over iterations"), parent) {}

void HeatMap::setRows(const std::vector<HistogramRow>& rows) {
  const std::size_t kept = std::min(grid_.set(rows), rows_.size());
  rows_.resize(kept);
  rows_.insert(rows_.end(), rows.begin() + static_cast<std::ptrdiff_t>(kept), rows.end());
  changed();
}

void HeatMap::clearBrush() {
  region_.reset();
  drag_.reset();
  update();
}

/// Rewards of a few values (0 and 1) would be hair lines: they are drawn as bands that do not meet.
int HeatMap::thickness() const {
  int before = -1;
  int nearest = HeatGrid::kBins;
  for (int b = 0; b < HeatGrid::kBins; ++b) {
    if (!grid_.used()[static_cast<std::size_t>(b)]) continue;
    if (before >= 0) nearest = std::min(nearest, b - before);
    before = b;
  }
  return std::clamp((nearest - 1) / 2, 0, 5);
}

/// One pixel across for each pixel of the plot, or for each column where they are fewer: several
/// columns in one pixel are averaged, none is left out.
QImage HeatMap::cells(int width) const {
  const std::size_t columns = grid_.iterations().size();
  const auto across = std::min<std::size_t>(columns, static_cast<std::size_t>(std::max(width, 1)));
  QImage image(static_cast<int>(across), HeatGrid::kBins, QImage::Format_RGB32);
  const Shades& table = shades(theme().dark);
  image.fill(table[0]);
  const int reach = thickness();
  const float brightest = grid_.typicalPeak();
  const auto stride = static_cast<std::size_t>(image.bytesPerLine()) / sizeof(QRgb);
  auto* pixels = reinterpret_cast<QRgb*>(image.bits());
  for (std::size_t x = 0; x < across; ++x) {
    const std::size_t from = x * columns / across;
    const std::size_t to = std::max(from + 1, (x + 1) * columns / across);
    const auto shares = grid_.shareOf(from, to);
    for (int b = 0; b < HeatGrid::kBins; ++b) {
      const float share = shares[static_cast<std::size_t>(b)];
      if (share <= 0) continue;
      const QRgb color = shadeOf(share / brightest, table);
      const int low = std::max(0, b - reach);
      const int high = std::min(HeatGrid::kBins - 1, b + reach);
      for (int k = low; k <= high; ++k) {
        pixels[static_cast<std::size_t>(HeatGrid::kBins - 1 - k) * stride + x] = color;
      }
    }
  }
  return image;
}

QRectF HeatMap::plot() const {
  return QRectF(rect()).adjusted(kLeftMargin, 10, -10, -kBottomMargin);
}

double HeatMap::columnX(std::size_t column) const {
  const QRectF area = plot();
  return area.left() + (static_cast<double>(column) + 0.5) /
                           static_cast<double>(grid_.iterations().size()) * area.width();
}

std::size_t HeatMap::columnAt(double x) const {
  const double share = (x - plot().left()) / plot().width();
  const auto count = static_cast<double>(grid_.iterations().size());
  return static_cast<std::size_t>(std::clamp(std::floor(share * count), 0.0, count - 1));
}

double HeatMap::valueAt(double y) const {
  const double share = std::clamp((plot().bottom() - y) / plot().height(), 0.0, 1.0);
  return grid_.low() + share * (grid_.high() - grid_.low());
}

QPointF HeatMap::placeOf(std::int64_t iteration, double value) const {
  const auto& list = grid_.iterations();
  if (list.empty()) return {};
  const auto it = std::lower_bound(list.begin(), list.end(), iteration);
  const auto column = static_cast<std::size_t>(std::min(it - list.begin(), std::ssize(list) - 1));
  const PlotAxes axes{plot(), {0, 1}, {grid_.low(), grid_.high()}};
  return {columnX(column), axes.sy(value)};
}

void HeatMap::drawMeans(QPainter& painter, const QRectF& area) const {
  // As many points as pixels at most: means of means where columns share a pixel.
  const std::size_t columns = grid_.means().size();
  const auto across =
      std::min<std::size_t>(columns, static_cast<std::size_t>(std::max(area.width(), 1.0)));
  QPolygonF line;
  const PlotAxes axes{area, {0, 1}, {grid_.low(), grid_.high()}};
  for (std::size_t x = 0; x < across; ++x) {
    const std::size_t from = x * columns / across;
    const std::size_t to = std::max(from + 1, (x + 1) * columns / across);
    double sum = 0;
    int count = 0;
    for (std::size_t i = from; i < to; ++i) {
      if (!std::isfinite(grid_.means()[i])) continue;
      sum += grid_.means()[i];
      ++count;
    }
    if (count == 0) continue;
    line << QPointF((columnX(from) + columnX(to - 1)) / 2, axes.sy(sum / count));
  }
  if (line.size() < kSmoothPoints) {
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(QColor(0, 0, 0, 130), 3.2));
    painter.drawPolyline(line);
    painter.setPen(QPen(Qt::white, 1.6));
    painter.drawPolyline(line);
    painter.setRenderHint(QPainter::Antialiasing, false);
    return;
  }
  // Thin lines are many times cheaper than wide ones: three of them look the same.
  painter.setPen(QPen(QColor(0, 0, 0, 170), 0));
  painter.drawPolyline(line.translated(0, -1));
  painter.drawPolyline(line.translated(0, 1));
  painter.setPen(QPen(Qt::white, 0));
  painter.drawPolyline(line);
}

void HeatMap::drawPicture(QPainter& painter) const {
  if (grid_.empty()) return drawNotice(painter, tr("nothing recorded yet"));
  const QRectF area = plot();
  painter.drawImage(area, cells(static_cast<int>(area.width())));
  painter.setClipRect(area);
  drawMeans(painter, area);
  painter.setClipping(false);
  painter.setPen(theme().faintText);
  painter.setBrush(Qt::NoBrush);
  painter.drawRect(area);
  const QFontMetricsF metrics(painter.font());
  const double height = metrics.height();
  const PlotAxes axes{area, {0, 1}, {grid_.low(), grid_.high()}};
  const int rows = std::clamp(static_cast<int>(area.height() / (height * 2.2)), 2, 6);
  const std::vector<double> ticks = axisTicks(grid_.low(), grid_.high(), rows);
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1;
  for (const double tick : ticks) {
    painter.drawText(QRectF(0, axes.sy(tick) - height / 2, area.left() - 6, height),
                     Qt::AlignRight | Qt::AlignVCenter, tickText(tick, step));
  }
  const auto& list = grid_.iterations();
  const QString title = tr("iteration");
  const double titleLeft = area.right() - metrics.horizontalAdvance(title) - 4;
  painter.drawText(QRectF(titleLeft, area.bottom() + 4, area.right() - titleLeft, height),
                   Qt::AlignRight, title);
  const double room = titleLeft - area.left();
  const int marks = std::clamp(static_cast<int>(room / 80), 1, 8);
  for (int i = 0; i < marks; ++i) {
    const auto column = static_cast<std::size_t>(i) * list.size() / static_cast<std::size_t>(marks);
    painter.drawText(QRectF(columnX(column) - 40, area.bottom() + 4, 80, height), Qt::AlignHCenter,
                     QString::number(list[column]));
  }
}

QRectF HeatMap::brushRect() const {
  const QPointF from = placeOf(region_->firstIteration, region_->high);
  const QPointF to = placeOf(region_->lastIteration, region_->low);
  const double half = plot().width() / static_cast<double>(grid_.iterations().size()) / 2;
  return QRectF(from, to).adjusted(-half, 0, half, 0).intersected(plot());
}

void HeatMap::drawCursor(QPainter& painter) const {
  if (grid_.empty()) return;
  const QRectF area = plot();
  if (const auto at = cursorIteration()) {
    const auto& list = grid_.iterations();
    const auto it = std::lower_bound(list.begin(), list.end(), *at);
    if (it != list.end()) {
      const double x = columnX(static_cast<std::size_t>(it - list.begin()));
      painter.setPen(QPen(theme().selection, 1.5));
      painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    }
  }
  if (!drag_ && !region_) return;
  painter.setPen(QPen(theme().selection, 1.5));
  QColor fill = theme().selection;
  fill.setAlpha(50);
  painter.setBrush(fill);
  painter.drawRect(drag_ ? *drag_ : brushRect());
}

void HeatMap::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || grid_.empty()) return;
  pressed_ = event->position();
  drag_.reset();
  update();
}

void HeatMap::mouseMoveEvent(QMouseEvent* event) {
  if (grid_.empty()) return;
  if (pressed_) {
    drag_ = QRectF(*pressed_, event->position()).normalized().intersected(plot());
    update();
    return;
  }
  if (!plot().contains(event->position())) return;
  const std::size_t column = columnAt(event->position().x());
  const std::int64_t iteration = grid_.iterations()[column];
  Q_EMIT iterationHovered(iteration);
  QToolTip::showText(
      event->globalPosition().toPoint(),
      tr("iteration %1, value %2, mean %3\ndrag over a region to list its rollouts")
          .arg(iteration)
          .arg(shortNumber(valueAt(event->position().y())), shortNumber(grid_.means()[column])),
      this);
}

void HeatMap::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || !pressed_) return;
  pressed_.reset();
  const std::optional<QRectF> drag = std::exchange(drag_, std::nullopt);
  if (!drag || drag->width() < 3 || drag->height() < 3) {
    const bool had = region_.has_value();
    region_.reset();
    update();
    Q_EMIT iterationChosen(grid_.iterations()[columnAt(event->position().x())]);
    if (had) Q_EMIT brushCleared();
    return;
  }
  region_ = HeatRegion{grid_.iterations()[columnAt(drag->left())],
                       grid_.iterations()[columnAt(drag->right())], valueAt(drag->bottom()),
                       valueAt(drag->top())};
  update();
  Q_EMIT brushed(*region_);
}

void HeatMap::writeCsv(QTextStream& out) const {
  out << "iteration,count,absent,nonfinite,mean,std,min,max";
  for (const std::string_view name : quantile_names) out << ',' << name.data();
  out << ",lo,hi,bins\n";
  for (const HistogramRow& row : rows_) {
    const Distribution& d = row.distribution;
    out << row.iteration << ',' << d.count << ',' << d.absent << ',' << d.nonfinite;
    for (const double value : {d.mean, d.std, d.min, d.max}) out << ',' << csvNumber(value);
    for (const double value : d.quantiles) out << ',' << csvNumber(value);
    out << ',' << csvNumber(d.lo) << ',' << csvNumber(d.hi) << ',';
    for (std::size_t i = 0; i < d.bins.size(); ++i) {
      out << (i ? " " : "") << static_cast<qulonglong>(d.bins[i]);
    }
    out << '\n';
  }
}

}  // namespace rewardloom
