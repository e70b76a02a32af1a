#include "editor/canvas/minimap.h"

#include <QMouseEvent>
#include <QPainter>

namespace rewardloom {

Minimap::Minimap(CanvasView& view, QWidget* parent) : QWidget(parent), view_(view) {
  resize(sizeHint());
  setAccessibleName(tr("Minimap"));
  setCursor(Qt::PointingHandCursor);
  connect(&view_, &CanvasView::viewChanged, this, qOverload<>(&QWidget::update));
  connect(&view_.graph(), &GraphScene::rebuilt, this, qOverload<>(&QWidget::update));
  connect(&view_.graph(), &QGraphicsScene::selectionChanged, this, qOverload<>(&QWidget::update));
}

QRectF Minimap::content() const {
  const QRectF seen = view_.mapToScene(view_.viewport()->rect()).boundingRect();
  QRectF rect = view_.graph().contentRect();
  rect = rect.isEmpty() ? seen : rect | seen.intersected(rect.adjusted(-800, -800, 800, 800));
  return rect.adjusted(-40, -40, 40, 40);
}

QTransform Minimap::toMap() const {
  const QRectF from = content();
  const double scale = std::min(width() / from.width(), height() / from.height());
  QTransform t;
  t.translate((width() - from.width() * scale) / 2, (height() - from.height() * scale) / 2);
  t.scale(scale, scale);
  t.translate(-from.left(), -from.top());
  return t;
}

void Minimap::paintEvent(QPaintEvent*) {
  const Theme& theme = view_.graph().theme();
  QPainter painter(this);
  QColor back = theme.nodeBody;
  back.setAlpha(225);
  painter.fillRect(rect(), back);
  const QTransform map = toMap();
  for (const FrameItem* frame : view_.graph().frameItems()) {
    QColor color(frame->frame().color);
    if (!color.isValid()) color = theme.nodeTitle;
    color.setAlpha(120);
    painter.fillRect(map.mapRect(frame->rect()), color);
  }
  for (const auto& [name, item] : view_.graph().nodeItems()) {
    const NodeView& node = item->view();
    QColor color = theme.faintText;
    if (node.activity.state == NodeState::running) color = theme.running;
    if (node.activity.state == NodeState::failed || node.badge == Severity::error) {
      color = theme.error;
    }
    if (item->isSelected()) color = theme.selection;
    QRectF box = map.mapRect(node.rect().translated(item->pos()));
    box.setSize(box.size().expandedTo(QSizeF(2, 2)));
    painter.fillRect(box, color);
  }
  painter.setPen(QPen(theme.selection, 1.2));
  painter.drawRect(map.mapRect(view_.mapToScene(view_.viewport()->rect()).boundingRect()));
  painter.setPen(theme.nodeBorder);
  painter.drawRect(rect().adjusted(0, 0, -1, -1));
}

void Minimap::goTo(QPointF at) { view_.centerOn(toMap().inverted().map(at)); }

void Minimap::mousePressEvent(QMouseEvent* event) { goTo(event->position()); }

void Minimap::mouseMoveEvent(QMouseEvent* event) {
  if (event->buttons() & Qt::LeftButton) goTo(event->position());
}

}  // namespace rewardloom
