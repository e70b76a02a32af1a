#include "editor/canvas/text_overlay.h"

#include <QKeyEvent>

namespace rewardloom {

TextOverlay::TextOverlay(const QString& text, bool lines, std::function<void(const QString&)> taken,
                         QWidget* parent)
    : QPlainTextEdit(text, parent), lines_(lines), taken_(std::move(taken)) {
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  if (!lines_) setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setTabChangesFocus(true);
  setAccessibleName(tr("Text"));
  selectAll();
}

void TextOverlay::finish(bool take) {
  // Taking the text may bring the focus elsewhere, which leads here again.
  const auto taken = std::exchange(taken_, {});
  const QString text = toPlainText();
  hide();
  if (QWidget* owner = parentWidget()) owner->setFocus();
  if (take && taken) taken(lines_ ? text : text.simplified());
  deleteLater();
}

void TextOverlay::keyPressEvent(QKeyEvent* event) {
  const bool enter = event->key() == Qt::Key_Return || event->key() == Qt::Key_Enter;
  if (enter && (!lines_ || event->modifiers() & Qt::ControlModifier)) return finish(true);
  if (event->key() == Qt::Key_Escape) return finish(false);
  QPlainTextEdit::keyPressEvent(event);
}

void TextOverlay::focusOutEvent(QFocusEvent* event) {
  QPlainTextEdit::focusOutEvent(event);
  if (taken_ && event->reason() != Qt::PopupFocusReason) finish(true);
}

}  // namespace rewardloom
