#include "editor/rewards/heat_map.h"

#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <algorithm>
#include <array>
#include <cmath>

namespace rewardloom {
namespace {

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

QString shortNumber(double value) { return QString::number(value, 'g', 4); }

}  // namespace

void HeatGrid::set(const std::vector<HistogramRow>& rows) {
  iterations_.clear();
  shares_.clear();
  means_.clear();
  double low = std::numeric_limits<double>::max();
  double high = std::numeric_limits<double>::lowest();
  for (const HistogramRow& row : rows) {
    if (row.distribution.count == 0) continue;
    low = std::min(low, row.distribution.min);
    high = std::max(high, row.distribution.max);
  }
  if (low > high) return;
  if (low == high) {
    low -= 0.5;
    high += 0.5;
  }
  low_ = low;
  high_ = high;
  for (const HistogramRow& row : rows) {
    const Distribution& d = row.distribution;
    iterations_.push_back(row.iteration);
    means_.push_back(d.mean);
    const std::size_t start = shares_.size();
    shares_.resize(start + kBins, 0.0F);
    if (d.count == 0 || d.bins.empty()) continue;
    const double width = (d.hi - d.lo) / static_cast<double>(d.bins.size());
    for (std::size_t b = 0; b < d.bins.size(); ++b) {
      if (d.bins[b] == 0) continue;
      // A bin's values are spread over the common bins that it covers.
      const double from = d.lo + width * static_cast<double>(b);
      const auto toBin = [&](double value) {
        const double x = (value - low_) / (high_ - low_) * kBins;
        return std::clamp(static_cast<int>(std::floor(x)), 0, kBins - 1);
      };
      const int first = toBin(from);
      const int last =
          std::max(first, width > 0 ? toBin(std::nextafter(from + width, from)) : first);
      const float each = static_cast<float>(d.bins[b]) / static_cast<float>(d.count) /
                         static_cast<float>(last - first + 1);
      for (int k = first; k <= last; ++k) shares_[start + static_cast<std::size_t>(k)] += each;
    }
  }
}

HeatMap::HeatMap(const Theme& theme, QWidget* parent) : QWidget(parent), theme_(theme) {
  setMouseTracking(true);
  setMinimumHeight(120);
  setAccessibleName(tr("Distribution over iterations"));
}

void HeatMap::setTheme(const Theme& theme) {
  theme_ = theme;
  renderImage();
}

void HeatMap::setRows(const std::vector<HistogramRow>& rows) {
  grid_.set(rows);
  renderImage();
}

void HeatMap::setCursorIteration(std::optional<std::int64_t> iteration) {
  if (cursor_ == iteration) return;
  cursor_ = iteration;
  update();
}

void HeatMap::renderImage() {
  const int columns = static_cast<int>(grid_.iterations().size());
  image_ = QImage(std::max(columns, 1), HeatGrid::kBins, QImage::Format_RGB32);
  image_.fill(theme_.canvas);
  const int reach = thickness();
  for (int c = 0; c < columns; ++c) {
    for (int b = 0; b < HeatGrid::kBins; ++b) {
      const float share = grid_.share(static_cast<std::size_t>(c), b);
      if (share <= 0) continue;
      const int low = std::max(0, b - reach);
      const int high = std::min(HeatGrid::kBins - 1, b + reach);
      for (int k = low; k <= high; ++k) {
        image_.setPixel(c, HeatGrid::kBins - 1 - k, heatColor(share, theme_.dark));
      }
    }
  }
  update();
}

/// Rewards of a few values (0 and 1) would be hair lines: they are drawn as bands that do not meet.
int HeatMap::thickness() const {
  std::array<bool, HeatGrid::kBins> used{};
  for (std::size_t c = 0; c < grid_.iterations().size(); ++c) {
    for (int b = 0; b < HeatGrid::kBins; ++b) {
      if (grid_.share(c, b) > 0) used[static_cast<std::size_t>(b)] = true;
    }
  }
  int before = -1;
  int nearest = HeatGrid::kBins;
  for (int b = 0; b < HeatGrid::kBins; ++b) {
    if (!used[static_cast<std::size_t>(b)]) continue;
    if (before >= 0) nearest = std::min(nearest, b - before);
    before = b;
  }
  return std::clamp((nearest - 1) / 2, 0, 5);
}

QRectF HeatMap::plot() const { return QRectF(rect()).adjusted(58, 10, -10, -24); }

std::int64_t HeatMap::iterationAt(double x) const {
  const auto& list = grid_.iterations();
  if (list.empty()) return 0;
  const double share = (x - plot().left()) / plot().width();
  const auto last = static_cast<double>(list.size() - 1);
  const double at = std::clamp(std::floor(share * static_cast<double>(list.size())), 0.0, last);
  return list[static_cast<std::size_t>(at)];
}

double HeatMap::valueAt(double y) const {
  const double share = std::clamp((plot().bottom() - y) / plot().height(), 0.0, 1.0);
  return grid_.low() + share * (grid_.high() - grid_.low());
}

void HeatMap::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.fillRect(rect(), theme_.canvas);
  painter.setPen(theme_.faintText);
  const QRectF area = plot();
  if (grid_.empty()) {
    painter.drawText(rect(), Qt::AlignCenter, tr("nothing recorded yet"));
    return;
  }
  painter.drawImage(area, image_);
  const auto& list = grid_.iterations();
  const auto columnX = [&](std::size_t i) {
    return area.left() +
           (static_cast<double>(i) + 0.5) / static_cast<double>(list.size()) * area.width();
  };
  // The mean, on top of what it hides.
  QPolygonF line;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const double mean = grid_.means()[i];
    if (!std::isfinite(mean)) continue;
    line << QPointF(columnX(i), area.bottom() - (mean - grid_.low()) /
                                                    (grid_.high() - grid_.low()) * area.height());
  }
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(QPen(QColor(0, 0, 0, 130), 3.2));
  painter.drawPolyline(line);
  painter.setPen(QPen(Qt::white, 1.6));
  painter.drawPolyline(line);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setPen(theme_.faintText);
  painter.drawRect(area);
  for (int i = 0; i <= 4; ++i) {
    const double y = area.bottom() - area.height() * i / 4;
    const double value = grid_.low() + (grid_.high() - grid_.low()) * i / 4;
    painter.drawText(QRectF(0, y - 9, 52, 18), Qt::AlignRight | Qt::AlignVCenter,
                     shortNumber(value));
  }
  painter.drawText(QRectF(area.left(), area.bottom() + 3, 120, 18), Qt::AlignLeft,
                   QString::number(list.front()));
  painter.drawText(QRectF(area.right() - 200, area.bottom() + 3, 200, 18), Qt::AlignRight,
                   tr("iteration %1").arg(list.back()));
  if (cursor_) {
    const auto it = std::lower_bound(list.begin(), list.end(), *cursor_);
    if (it != list.end()) {
      const double x = columnX(static_cast<std::size_t>(it - list.begin()));
      painter.setPen(QPen(theme_.selection, 1));
      painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()));
    }
  }
  if (!brush_) return;
  painter.setPen(QPen(theme_.selection, 1.5));
  QColor fill = theme_.selection;
  fill.setAlpha(50);
  painter.setBrush(fill);
  painter.drawRect(*brush_);
}

void HeatMap::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || grid_.empty()) return;
  pressed_ = event->position();
  brush_.reset();
  update();
}

void HeatMap::mouseMoveEvent(QMouseEvent* event) {
  if (grid_.empty()) return;
  if (pressed_) {
    brush_ = QRectF(*pressed_, event->position()).normalized().intersected(plot());
    update();
    return;
  }
  if (!plot().contains(event->position())) return;
  const std::int64_t iteration = iterationAt(event->position().x());
  Q_EMIT iterationHovered(iteration);
  QToolTip::showText(
      event->globalPosition().toPoint(),
      tr("iteration %1, value %2").arg(iteration).arg(shortNumber(valueAt(event->position().y()))),
      this);
}

void HeatMap::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || !pressed_) return;
  pressed_.reset();
  if (!brush_ || brush_->width() < 3 || brush_->height() < 3) {
    brush_.reset();
    update();
    Q_EMIT brushCleared();
    return;
  }
  Q_EMIT brushed({iterationAt(brush_->left()), iterationAt(brush_->right()),
                  valueAt(brush_->bottom()), valueAt(brush_->top())});
}

void HeatMap::leaveEvent(QEvent*) { setCursorIteration(std::nullopt); }

}  // namespace rewardloom
