#include "editor/rewards/painted_view.h"

#include <QPainter>
#include <utility>

namespace rewardloom {

void PaintedView::changed() {
  stale_ = true;
  update();
}

void PaintedView::paintEvent(QPaintEvent*) {
  const double ratio = devicePixelRatioF();
  const QSize pixels = size() * ratio;
  // Memory that is written for the first time costs as much as drawing: the picture keeps its own.
  if (picture_.size() != pixels) {
    picture_ = QImage(pixels, QImage::Format_RGB32);
    stale_ = true;
  }
  if (picture_.devicePixelRatio() != ratio) stale_ = true;
  if (std::exchange(stale_, false)) {
    picture_.setDevicePixelRatio(ratio);
    picture_.fill(theme().canvas);
    QPainter painter(&picture_);
    painter.setFont(font());
    drawPicture(painter);
  }
  QPainter painter(this);
  painter.drawImage(QPointF(0, 0), picture_);
  drawCursor(painter);
}

void PaintedView::drawOn(QPaintDevice& device) {
  QPainter painter(&device);
  painter.setFont(font());
  painter.fillRect(rect(), theme().canvas);
  drawPicture(painter);
  drawCursor(painter);
}

}  // namespace rewardloom
