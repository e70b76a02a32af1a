#include "editor/editor_style.h"

#include <QPainter>
#include <QStyleOption>

namespace rewardloom {

EditorStyle::EditorStyle() : QProxyStyle(QStringLiteral("Fusion")) {}

void EditorStyle::drawPrimitive(PrimitiveElement element, const QStyleOption* option,
                                QPainter* painter, const QWidget* widget) const {
  QProxyStyle::drawPrimitive(element, option, painter, widget);
  const bool box = element == PE_IndicatorCheckBox || element == PE_IndicatorItemViewItemCheck;
  if (!box || option->palette.window().color().lightness() > 128) return;
  // Fusion's outline is darker than the window: on a dark one an empty box would not be seen.
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing, false);
  painter->setBrush(Qt::NoBrush);
  painter->setPen(option->palette.color(QPalette::PlaceholderText));
  painter->drawRect(option->rect.adjusted(0, 0, -1, -1));
  painter->restore();
}

}  // namespace rewardloom
