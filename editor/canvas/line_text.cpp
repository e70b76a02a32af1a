#include "editor/canvas/line_text.h"

#include <QFontMetricsF>
#include <QGlyphRun>
#include <QHash>
#include <QPainter>
#include <QTextLayout>

namespace rewardloom {
namespace {

constexpr qsizetype kMostTexts = 50000;

struct Shaped {
  QList<QGlyphRun> runs;
  double width = 0;
  double ascent = 0;
  double height = 0;
};

Shaped shape(const QString& text, const QFont& font, double width) {
  const QFontMetricsF metrics(font);
  QTextLayout layout(metrics.elidedText(text, Qt::ElideRight, width), font);
  layout.beginLayout();
  QTextLine line = layout.createLine();
  if (line.isValid()) line.setLineWidth(1e6);
  layout.endLayout();
  Shaped shaped{layout.glyphRuns(), 0, metrics.ascent(), metrics.height()};
  if (!line.isValid()) return shaped;
  shaped.width = line.naturalTextWidth();
  shaped.ascent = line.ascent();
  return shaped;
}

const Shaped& shaped(const QString& text, const QFont& font, double width) {
  // Never taken down: glyphs must not outlive the application.
  static auto& known = *new QHash<QString, Shaped>;
  const QString key =
      text + QStringLiteral("\x1f%1 %2 %3").arg(font.pixelSize()).arg(font.weight()).arg(width);
  const auto it = known.constFind(key);
  if (it != known.constEnd()) return *it;
  if (known.size() > kMostTexts) known.clear();
  return *known.insert(key, shape(text, font, width));
}

void draw(QPainter& painter, QPointF baseline, const Shaped& text) {
  const QPointF corner = baseline - QPointF(0, text.ascent);
  for (const QGlyphRun& run : text.runs) painter.drawGlyphRun(corner, run);
}

}  // namespace

void drawLineText(QPainter& painter, QPointF baseline, const QString& text, const QFont& font,
                  double width) {
  if (!text.isEmpty()) draw(painter, baseline, shaped(text, font, width));
}

void drawRowText(QPainter& painter, const QRectF& row, Qt::Alignment side, const QString& text,
                 const QFont& font) {
  if (text.isEmpty()) return;
  const Shaped& line = shaped(text, font, row.width());
  const double x = side & Qt::AlignRight ? row.right() - line.width : row.left();
  const double top = row.top() + (row.height() - line.height) / 2;
  draw(painter, QPointF(x, top + line.ascent), line);
}

}  // namespace rewardloom
