#include "editor/rewards/series_box.h"

#include <QStyleOptionComboBox>
#include <QStylePainter>

namespace rewardloom {

void SeriesBox::paintEvent(QPaintEvent*) {
  QStylePainter painter(this);
  QStyleOptionComboBox option;
  initStyleOption(&option);
  const int room =
      style()
          ->subControlRect(QStyle::CC_ComboBox, &option, QStyle::SC_ComboBoxEditField, this)
          .width() -
      4;
  const QString shorter = currentData(kShortText).toString();
  if (!shorter.isEmpty() && fontMetrics().horizontalAdvance(option.currentText) > room) {
    option.currentText = shorter;
  }
  // Of a path both ends tell, of a word its beginning.
  const bool path = option.currentText.contains(QChar('/'));
  option.currentText =
      fontMetrics().elidedText(option.currentText, path ? Qt::ElideMiddle : Qt::ElideRight, room);
  painter.drawComplexControl(QStyle::CC_ComboBox, option);
  painter.drawControl(QStyle::CE_ComboBoxLabel, option);
}

}  // namespace rewardloom
