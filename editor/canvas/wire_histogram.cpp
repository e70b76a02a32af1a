#include "editor/canvas/wire_histogram.h"

#include <QPainter>
#include <algorithm>

namespace rewardloom {

void paintWireHistogram(QPainter& painter, const QRectF& box, const WireHistogram& histogram,
                        const QColor& bars, const QColor& paper) {
  painter.setPen(QPen(bars, 1));
  painter.setBrush(paper);
  painter.drawRoundedRect(box, 2, 2);
  painter.setPen(Qt::NoPen);
  painter.setBrush(bars);
  const QRectF inner = box.adjusted(2.5, 2.5, -2.5, -1.5);
  const double wide = inner.width() / WireHistogram::kBars;
  for (std::size_t i = 0; i < histogram.bars.size(); ++i) {
    if (histogram.bars[i] <= 0) continue;
    const double high = std::max(1.0, inner.height() * static_cast<double>(histogram.bars[i]));
    painter.drawRect(QRectF(inner.left() + wide * static_cast<double>(i), inner.bottom() - high,
                            std::max(1.0, wide - 0.5), high));
  }
}

}  // namespace rewardloom
