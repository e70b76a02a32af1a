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
  themeChanged();
}

void RewardView::setCursorIteration(std::optional<std::int64_t> iteration) {
  if (cursor_ == iteration) return;
  cursor_ = iteration;
  cursorMoved();
}

void RewardView::leaveEvent(QEvent* event) {
  QWidget::leaveEvent(event);
  Q_EMIT hoverEnded();
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
