#include "editor/rewards/reward_view.h"

#include <QPainter>
#include <cmath>

namespace rewardloom {

RewardView::RewardView(const Theme& theme, const QString& name, QWidget* parent)
    : QWidget(parent), theme_(theme) {
  setMouseTracking(true);
  setAccessibleName(name);
  setAttribute(Qt::WA_OpaquePaintEvent);
}

void RewardView::setTheme(const Theme& theme) {
  theme_ = theme;
  changed();
}

void RewardView::setCursorIteration(std::optional<std::int64_t> iteration) {
  if (cursor_ == iteration) return;
  cursor_ = iteration;
  if (picturesCursor()) picture_ = QImage();
  update();
}

void RewardView::changed() {
  picture_ = QImage();
  update();
}

void RewardView::resizeEvent(QResizeEvent* event) {
  picture_ = QImage();
  QWidget::resizeEvent(event);
}

void RewardView::leaveEvent(QEvent* event) {
  QWidget::leaveEvent(event);
  Q_EMIT hoverEnded();
}

void RewardView::paintEvent(QPaintEvent*) {
  const double ratio = devicePixelRatioF();
  if (picture_.isNull() || picture_.devicePixelRatio() != ratio) {
    picture_ = QImage(size() * ratio, QImage::Format_RGB32);
    picture_.setDevicePixelRatio(ratio);
    picture_.fill(theme_.canvas);
    QPainter painter(&picture_);
    painter.setFont(font());
    drawPicture(painter);
  }
  QPainter painter(this);
  painter.drawImage(QPointF(0, 0), picture_);
  drawCursor(painter);
}

void RewardView::draw(QPainter& painter) const {
  painter.setFont(font());
  painter.fillRect(rect(), theme_.canvas);
  drawPicture(painter);
  drawCursor(painter);
}

void RewardView::drawNotice(QPainter& painter, const QString& text) const {
  painter.setPen(theme_.faintText);
  painter.drawText(QRectF(rect()).adjusted(12, 4, -12, -4), Qt::AlignCenter | Qt::TextWordWrap,
                   text);
}

QString csvField(const QString& text) {
  const bool plain = !text.contains(QChar('"')) && !text.contains(QChar(',')) &&
                     !text.contains(QChar('\n')) && !text.contains(QChar('\r'));
  if (plain) return text;
  return QChar('"') + QString(text).replace(QChar('"'), QStringLiteral("\"\"")) + QChar('"');
}

QString csvNumber(double value) {
  if (std::isnan(value)) return {};
  return QString::number(value, 'g', 17);
}

}  // namespace rewardloom
