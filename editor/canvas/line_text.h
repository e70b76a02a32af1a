// Short texts of the canvas, shaped and shortened once: that is most of what a frame with many
// nodes costs.
#pragma once
#include <QFont>
#include <QPointF>
#include <QRectF>
#include <QString>

class QPainter;

namespace rewardloom {

/// Draws one line, shortened to `width` with dots at its end, from a point of its baseline on. For
/// the thread of the window.
void drawLineText(QPainter& painter, QPointF baseline, const QString& text, const QFont& font,
                  double width);
/// The same in the middle of a row's height, at its left or right end.
void drawRowText(QPainter& painter, const QRectF& row, Qt::Alignment side, const QString& text,
                 const QFont& font);

}  // namespace rewardloom
