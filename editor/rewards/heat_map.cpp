#include "editor/rewards/heat_map.h"

#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <cmath>
#include <limits>

namespace rewardloom {
namespace {

constexpr double kLeftMargin = 58;
constexpr double kBottomMargin = 24;
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

/// Places in the table of shades, 0 for what no value is in; written so that it is done eight at a
/// time.
std::array<int, HeatGrid::kBins> shadePlaces(const std::array<float, HeatGrid::kBins>& shares,
                                             float brightest) {
  const float scale = (kShades - 1) / brightest;
  std::array<int, HeatGrid::kBins> places;
  for (std::size_t b = 0; b < places.size(); ++b) {
    const int least = shares[b] > 0 ? 1 : 0;
    places[b] = std::max(least, static_cast<int>(std::min(shares[b] * scale, kShades - 1.0F)));
  }
  return places;
}

QString shortNumber(double value) { return QString::number(value, 'g', 4); }

}  // namespace

std::size_t HeatGrid::set(const std::vector<HistogramRow>& rows) {
  const auto markOf = [](const HistogramRow& row) {
    const Distribution& d = row.distribution;
    return Mark{row.iteration, d.count, d.mean, d.lo, d.hi};
  };
  std::size_t kept = 0;
  while (kept < marks_.size() && kept < rows.size() && marks_[kept] == markOf(rows[kept])) ++kept;
  // Most often there is only more: then the range of what was there is known.
  const bool more = kept > 0 && kept == marks_.size();
  AxisRange range = more ? range_ : AxisRange::none();
  for (std::size_t i = more ? kept : 0; i < rows.size(); ++i) {
    if (rows[i].distribution.count == 0) continue;
    range.hold(rows[i].distribution.min);
    range.hold(rows[i].distribution.max);
  }
  range_ = range;
  if (range.empty()) {
    *this = HeatGrid();
    return 0;
  }
  if (range.low == range.high) range = {range.low - 0.5, range.high + 0.5};
  if (range.low != low_ || range.high != high_) kept = 0;
  iterations_.resize(kept);
  marks_.resize(kept);
  means_.resize(kept);
  peaks_.resize(kept);
  sums_.resize((kept + 1) * kBins, 0.0);
  low_ = range.low;
  high_ = range.high;
  for (std::size_t i = kept; i < rows.size(); ++i) {
    marks_.push_back(markOf(rows[i]));
    add(rows[i]);
  }
  // A bin that the sums of all columns have is one that some column has.
  for (std::size_t bin = 0; bin < kBins; ++bin) used_[bin] = sums_[sums_.size() - kBins + bin] > 0;
  return kept;
}

void HeatGrid::add(const HistogramRow& row) {
  const Distribution& d = row.distribution;
  iterations_.push_back(row.iteration);
  means_.push_back(d.mean);
  std::array<float, kBins> shares{};
  if (d.count > 0 && !d.bins.empty()) spread(d, shares);
  peaks_.push_back(*std::max_element(shares.begin(), shares.end()));
  const std::size_t before = sums_.size() - kBins;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    sums_.push_back(sums_[before + bin] + static_cast<double>(shares[bin]));
  }
}

void HeatGrid::spread(const Distribution& d, std::array<float, kBins>& shares) const {
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
    for (int k = first; k <= last; ++k) shares[static_cast<std::size_t>(k)] += each;
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
  std::array<float, kBins> means{};
  const double each = to > from ? 1.0 / static_cast<double>(to - from) : 0.0;
  const double* const before = &sums_[from * kBins];
  const double* const until = &sums_[to * kBins];
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    means[bin] = static_cast<float>((until[bin] - before[bin]) * each);
  }
  return means;
}

HeatMap::HeatMap(const Theme& theme, QWidget* parent)
    : PaintedView(theme, tr("Distribution over iterations"), parent) {}

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
const QImage& HeatMap::cells(int width) const {
  // Rows of the picture are far apart in memory: a few columns at a time are put together first.
  constexpr std::size_t kTogether = 16;
  const std::size_t columns = grid_.iterations().size();
  const auto across = std::min<std::size_t>(columns, static_cast<std::size_t>(std::max(width, 1)));
  const QSize size(static_cast<int>(across), HeatGrid::kBins);
  if (cells_.size() != size) cells_ = QImage(size, QImage::Format_RGB32);
  const Shades& table = shades(theme().dark);
  const int reach = thickness();
  const float brightest = grid_.typicalPeak();
  auto* const pixels = reinterpret_cast<QRgb*>(cells_.bits());
  const auto stride = static_cast<std::size_t>(cells_.bytesPerLine()) / sizeof(QRgb);
  std::array<std::array<QRgb, kTogether>, HeatGrid::kBins> block;
  for (std::size_t left = 0; left < across; left += kTogether) {
    const std::size_t count = std::min(kTogether, across - left);
    for (auto& row : block) row.fill(table[0]);
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t from = (left + k) * columns / across;
      const std::size_t to = std::max(from + 1, (left + k + 1) * columns / across);
      const auto places = shadePlaces(grid_.shareOf(from, to), brightest);
      for (int b = 0; b < HeatGrid::kBins; ++b) {
        const int place = places[static_cast<std::size_t>(b)];
        if (place == 0) continue;
        const QRgb color = table[static_cast<std::size_t>(place)];
        const int low = std::max(0, b - reach);
        const int high = std::min(HeatGrid::kBins - 1, b + reach);
        for (int at = low; at <= high; ++at) {
          block[static_cast<std::size_t>(HeatGrid::kBins - 1 - at)][k] = color;
        }
      }
    }
    for (std::size_t y = 0; y < block.size(); ++y) {
      std::copy_n(block[y].begin(), count, pixels + y * stride + left);
    }
  }
  return cells_;
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

double HeatMap::valueY(double value) const {
  const QRectF area = plot();
  return area.bottom() - (value - grid_.low()) / (grid_.high() - grid_.low()) * area.height();
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
  return {columnX(column), valueY(value)};
}

void HeatMap::drawMeans(QPainter& painter, const QRectF& area) const {
  // As many points as pixels at most: means of means where columns share a pixel.
  const std::size_t columns = grid_.means().size();
  const auto across =
      std::min<std::size_t>(columns, static_cast<std::size_t>(std::max(area.width(), 1.0)));
  QPolygonF line;
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
    line << QPointF((columnX(from) + columnX(to - 1)) / 2, valueY(sum / count));
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
  const int rows = std::clamp(static_cast<int>(area.height() / (height * 2.2)), 2, 6);
  const std::vector<double> ticks = axisTicks(grid_.low(), grid_.high(), rows);
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : 1;
  for (const double tick : ticks) {
    painter.drawText(QRectF(0, valueY(tick) - height / 2, area.left() - 6, height),
                     Qt::AlignRight | Qt::AlignVCenter, tickText(tick, step));
  }
  const auto& list = grid_.iterations();
  const QString title = tr("iteration");
  const double titleLeft = area.right() - metrics.horizontalAdvance(title) - 4;
  painter.drawText(QRectF(titleLeft, area.bottom() + 4, area.right() - titleLeft, height),
                   Qt::AlignRight, title);
  const int marks = std::clamp(static_cast<int>((titleLeft - area.left()) / 80), 1, 8);
  std::vector<double> round =
      axisTicks(static_cast<double>(list.front()), static_cast<double>(list.back()), marks);
  if (round.empty()) round = {static_cast<double>(list.front())};
  for (const double tick : round) {
    const auto at = std::lower_bound(list.begin(), list.end(), std::llround(std::ceil(tick)));
    if (at == list.end()) break;
    const QString text = QString::number(*at);
    const double half = metrics.horizontalAdvance(text) / 2 + 2;
    const double x = columnX(static_cast<std::size_t>(at - list.begin()));
    if (tick != std::floor(tick) || x + half > titleLeft) continue;
    painter.drawText(QRectF(x - half, area.bottom() + 4, 2 * half, height), Qt::AlignHCenter, text);
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
