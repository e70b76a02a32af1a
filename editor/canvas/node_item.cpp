#include "editor/canvas/node_item.h"

#include <QFontMetricsF>
#include <QPainter>
#include <QStyleOptionGraphicsItem>

#include "editor/canvas/graph_scene.h"

namespace rewardloom {
namespace {

constexpr double kBoxesBelow = 0.25;
constexpr double kTitlesBelow = 0.6;
constexpr double kMargin = 14;  // around a node: selection, ports, badges

QFont titleFont() {
  QFont font;
  font.setPixelSize(13);
  font.setBold(true);
  return font;
}

QFont smallFont() {
  QFont font;
  font.setPixelSize(11);
  return font;
}

QString elided(const QString& text, const QFont& font, double width) {
  return QFontMetricsF(font).elidedText(text, Qt::ElideRight, width);
}

QString durationText(double seconds) {
  if (seconds < 1) return QStringLiteral("%1 ms").arg(seconds * 1000, 0, 'g', 3);
  if (seconds < 120) return QStringLiteral("%1 s").arg(seconds, 0, 'g', 3);
  return QStringLiteral("%1 min").arg(seconds / 60, 0, 'g', 3);
}

}  // namespace

NodeItem::NodeItem(NodeView view, const Theme& theme) : view_(std::move(view)), theme_(theme) {
  setFlags(ItemIsMovable | ItemIsSelectable | ItemSendsGeometryChanges | ItemIsFocusable);
  setAcceptHoverEvents(true);
  setZValue(2);
}

QRectF NodeItem::boundingRect() const {
  return view_.rect().adjusted(-kMargin, -kMargin, kMargin, kMargin);
}

QPainterPath NodeItem::shape() const {
  QPainterPath path;
  path.addRect(view_.rect().adjusted(-7, 0, 7, 0));
  return path;
}

void NodeItem::setView(NodeView view) {
  view.activity = view_.activity;
  view.badge = view_.badge;
  view.badgeText = view_.badgeText;
  view.breakpoint = view_.breakpoint;
  if (view.rect() != view_.rect()) prepareGeometryChange();
  view_ = std::move(view);
  setToolTip(view_.badgeText);
  update();
}

void NodeItem::setActivity(const NodeActivity& activity) {
  if (view_.activity == activity) return;
  view_.activity = activity;
  update();
}

void NodeItem::setBadge(std::optional<Severity> badge, const QString& text) {
  if (view_.badge == badge && view_.badgeText == text) return;
  view_.badge = badge;
  view_.badgeText = text;
  update();
}

void NodeItem::setBreakpoint(bool on) {
  if (view_.breakpoint == on) return;
  view_.breakpoint = on;
  update();
}

void NodeItem::setGlow(std::function<PortGlow(const PortEnd&)> glow) {
  if (!glow && !glow_) return;
  glow_ = std::move(glow);
  update();
}

void NodeItem::markOutputsWired(const std::function<bool(const std::string&)>& wired) {
  bool changed = false;
  for (PortView& port : view_.outputs) {
    const bool now = wired(port.name);
    changed = changed || now != port.wired;
    port.wired = now;
  }
  if (changed) update();
}

QPointF NodeItem::portScenePoint(const PortEnd& end) const {
  const auto& ports = end.output ? view_.outputs : view_.inputs;
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (ports[i].name == end.port) return pos() + view_.portPoint(end.output, i);
  }
  return pos() + QPointF(end.output ? NodeView::kWidth : 0, NodeView::kTitle / 2);
}

QVariant NodeItem::itemChange(GraphicsItemChange change, const QVariant& value) {
  if (change == ItemPositionHasChanged) {
    if (auto* graph = qobject_cast<GraphScene*>(scene())) graph->nodeMoved(*this);
  }
  return QGraphicsItem::itemChange(change, value);
}

QColor NodeItem::stateColor() const {
  switch (view_.activity.state) {
    case NodeState::running: return theme_.running;
    case NodeState::done: return theme_.done;
    case NodeState::cached: return theme_.cached;
    case NodeState::stale: return theme_.stale;
    case NodeState::failed: return theme_.error;
    case NodeState::skipped:
    case NodeState::idle: break;
  }
  return theme_.faintText;
}

void NodeItem::paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget*) {
  const auto* graph = qobject_cast<GraphScene*>(scene());
  const double detail = option->levelOfDetailFromTransform(painter->worldTransform());
  const bool fast = detail < kBoxesBelow || (graph && graph->inGesture());
  painter->setRenderHint(QPainter::Antialiasing, !fast);
  paintBox(*painter, option->state & QStyle::State_Selected, detail);
  if (detail >= kBoxesBelow) {
    paintTitle(*painter);
    if (detail >= kTitlesBelow && !view_.collapsed) {
      paintPorts(*painter);
      paintSettings(*painter);
    }
  }
  paintState(*painter, detail);
  paintBadge(*painter, detail);
}

void NodeItem::paintBox(QPainter& painter, bool selected, double detail) const {
  const QRectF rect = view_.rect();
  QColor border = selected ? theme_.selection : theme_.nodeBorder;
  if (view_.activity.state == NodeState::running) border = theme_.running;
  if (detail < kBoxesBelow) {
    painter.fillRect(rect, view_.known ? theme_.nodeBody : theme_.error.darker(200));
    painter.fillRect(view_.titleRect(), selected ? theme_.selection : theme_.nodeTitle);
    return;
  }
  QPen pen(border, selected ? 2.5 : 1.2);
  if (!view_.known) pen.setStyle(Qt::DotLine);
  painter.setPen(pen);
  painter.setBrush(view_.known ? QBrush(theme_.nodeBody)
                               : QBrush(theme_.nodeBorder, Qt::BDiagPattern));
  painter.drawRoundedRect(rect, 6, 6);
  painter.setPen(Qt::NoPen);
  painter.setBrush(theme_.nodeTitle);
  const QRectF title = view_.titleRect().adjusted(1.2, 1.2, -1.2, 0);
  painter.drawRoundedRect(title, 5, 5);
  if (!view_.collapsed) painter.drawRect(title.adjusted(0, 8, 0, 0));
  if (view_.activity.state == NodeState::stale) {
    painter.setPen(QPen(theme_.stale, 1.5, Qt::DashLine));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(rect.adjusted(-3, -3, 3, 3), 8, 8);
  }
}

void NodeItem::paintTitle(QPainter& painter) const {
  const double left = 10;
  const double width = NodeView::kWidth - 2 * left - (view_.gold ? 40 : 0);
  painter.setPen(theme_.text);
  painter.setFont(titleFont());
  painter.drawText(QPointF(left, 17), elided(view_.title, titleFont(), width));
  painter.setPen(theme_.faintText);
  painter.setFont(smallFont());
  painter.drawText(QPointF(left, 31),
                   elided(view_.subtitle, smallFont(), NodeView::kWidth - 2 * left));
  if (!view_.gold) return;
  painter.setPen(theme_.warning);
  painter.drawText(QRectF(NodeView::kWidth - 48, 4, 38, 16), Qt::AlignRight | Qt::AlignVCenter,
                   QStringLiteral("gold"));
}

void NodeItem::paintPorts(QPainter& painter) const {
  painter.setFont(smallFont());
  for (std::size_t i = 0; i < view_.inputs.size(); ++i) {
    paintPort(painter, view_.inputs[i], false, i);
  }
  for (std::size_t i = 0; i < view_.outputs.size(); ++i) {
    paintPort(painter, view_.outputs[i], true, i);
  }
}

void NodeItem::paintPort(QPainter& painter, const PortView& port, bool output,
                         std::size_t index) const {
  const PortGlow glow = glow_ ? glow_(PortEnd{view_.name, port.name, output}) : PortGlow::normal;
  const QPointF at = view_.portPoint(output, index);
  const double radius = glow == PortGlow::fits ? 7 : 5;
  const double opacity = painter.opacity();
  if (glow == PortGlow::dim) painter.setOpacity(0.25);
  painter.setPen(QPen(port.style.color, 1.8));
  painter.setBrush(port.wired || glow == PortGlow::fits ? QBrush(port.style.color)
                                                        : QBrush(theme_.nodeBody));
  painter.drawEllipse(at, radius, radius);
  const bool missing = !output && port.required && !port.wired;
  painter.setPen(missing ? theme_.text : theme_.faintText);
  const double half = NodeView::kWidth / 2 - 14;
  const QRectF row = output ? QRectF(NodeView::kWidth / 2 + 2, at.y() - 9, half, 18)
                            : QRectF(12, at.y() - 9, half, 18);
  const auto side = output ? Qt::AlignRight : Qt::AlignLeft;
  painter.drawText(row, side | Qt::AlignVCenter, elided(port.label, smallFont(), half));
  painter.setOpacity(opacity);
}

void NodeItem::paintSettings(QPainter& painter) const {
  if (view_.settings.empty()) return;
  const double rows = static_cast<double>(std::max(view_.inputs.size(), view_.outputs.size()));
  double y = NodeView::kTitle + 6 + rows * NodeView::kRow + 6;
  painter.setPen(QPen(theme_.nodeBorder, 1));
  painter.drawLine(QPointF(8, y - 2), QPointF(NodeView::kWidth - 8, y - 2));
  painter.setPen(theme_.faintText);
  painter.setFont(smallFont());
  for (const QString& line : view_.settings) {
    painter.drawText(QRectF(12, y, NodeView::kWidth - 24, 16), Qt::AlignLeft | Qt::AlignVCenter,
                     elided(line, smallFont(), NodeView::kWidth - 24));
    y += 16;
  }
}

void NodeItem::paintState(QPainter& painter, double detail) const {
  const NodeActivity& activity = view_.activity;
  if (activity.state == NodeState::idle) return;
  const QRectF rect = view_.rect();
  const double height = detail < kTitlesBelow ? 6 / std::max(detail, 0.1) : 4;
  painter.fillRect(QRectF(rect.left(), rect.bottom() - height, rect.width(), height), stateColor());
  if (detail < kTitlesBelow || activity.count == 0) return;
  painter.setPen(stateColor());
  painter.setFont(smallFont());
  const QString text = QStringLiteral("%1%2  %3")
                           .arg(QChar(0x00d7))
                           .arg(activity.count)
                           .arg(durationText(activity.seconds));
  painter.drawText(QPointF(rect.left() + 2, rect.bottom() + 12), text);
}

void NodeItem::paintBadge(QPainter& painter, double detail) const {
  // Grows while zooming out, so that an error is seen when everything is on the screen.
  const double size = std::clamp(9 / std::max(detail, 0.05), 9.0, 60.0);
  if (view_.badge) {
    const QColor color = *view_.badge == Severity::error     ? theme_.error
                         : *view_.badge == Severity::warning ? theme_.warning
                                                             : theme_.note;
    const QPointF at(view_.rect().right() - 2, view_.rect().top() + 2);
    if (detail < kBoxesBelow) {
      painter.fillRect(QRectF(at.x() - size, at.y() - size, 2 * size, 2 * size), color);
      return;
    }
    painter.setPen(QPen(theme_.canvas, 1.5));
    painter.setBrush(color);
    painter.drawEllipse(at, size, size);
    QFont font = titleFont();
    font.setPixelSize(static_cast<int>(size * 1.4));
    painter.setFont(font);
    painter.setPen(theme_.dark ? QColor(Qt::black) : QColor(Qt::white));
    painter.drawText(QRectF(at.x() - size, at.y() - size, 2 * size, 2 * size), Qt::AlignCenter,
                     *view_.badge == Severity::note ? QStringLiteral("i") : QStringLiteral("!"));
  }
  if (!view_.breakpoint) return;
  painter.setPen(Qt::NoPen);
  painter.setBrush(theme_.error);
  painter.drawEllipse(QPointF(view_.rect().left() + 2, view_.rect().top() + 2), size * 0.8,
                      size * 0.8);
}

}  // namespace rewardloom
