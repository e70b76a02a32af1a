#include "editor/canvas/node_item.h"

#include <QPainter>
#include <QStyleOptionGraphicsItem>
#include <algorithm>
#include <array>

#include "editor/canvas/graph_scene.h"
#include "editor/canvas/line_text.h"

namespace rewardloom {
namespace {

constexpr double kBoxesBelow = 0.25;
constexpr double kTitlesBelow = 0.6;
constexpr double kMargin = 14;  // around a node: selection, ports, badges

// Never taken down: fonts must not outlive the application.
const QFont& fontOf(int pixels, bool bold) {
  QFont* font = new QFont;
  font->setPixelSize(pixels);
  font->setBold(bold);
  return *font;
}

const QFont& titleFont() {
  static const QFont& font = fontOf(13, true);
  return font;
}

const QFont& smallFont() {
  static const QFont& font = fontOf(11, false);
  return font;
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
  view.timeline = std::move(view_.timeline);
  view.conditional = view_.conditional;
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

void NodeItem::setTimeline(std::vector<PhaseSpan> timeline) {
  if (view_.timeline == timeline) return;
  view_.timeline = std::move(timeline);
  update();
}

void NodeItem::setBadge(std::optional<Severity> badge, const QString& text) {
  if (view_.badge == badge && view_.badgeText == text) return;
  view_.badge = badge;
  view_.badgeText = text;
  update();
}

void NodeItem::setBreakpoint(bool on, bool conditional) {
  if (view_.breakpoint == on && view_.conditional == conditional) return;
  view_.breakpoint = on;
  view_.conditional = conditional;
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
  // What can be read depends on the screen's own pixels, of which a fine screen has more.
  const double pixels = detail * (painter->device() ? painter->device()->devicePixelRatioF() : 1);
  const bool fast = pixels < kBoxesBelow || (graph && graph->inGesture());
  painter->setRenderHint(QPainter::Antialiasing, !fast);
  paintBox(*painter, option->state & QStyle::State_Selected, pixels);
  if (pixels >= kBoxesBelow) {
    paintTitle(*painter, !fast || pixels >= kTitlesBelow);
    if (pixels >= kTitlesBelow && !view_.collapsed) {
      paintPorts(*painter);
      paintSettings(*painter);
      if (!view_.bodies.empty()) paintBodies(*painter);
    }
  }
  paintMode(*painter, detail);
  paintState(*painter, detail, pixels);
  paintBadge(*painter, detail);
}

void NodeItem::paintBox(QPainter& painter, bool selected, double detail) const {
  const QRectF rect = view_.rect();
  QColor border = selected ? theme_.selection : theme_.nodeBorder;
  if (view_.activity.state == NodeState::running) border = theme_.running;
  if (detail < kBoxesBelow) {
    // Without borders: a light box on a light canvas would not be seen.
    const QColor body = theme_.dark ? theme_.nodeBody : theme_.nodeTitle;
    const QColor title = theme_.dark ? theme_.nodeTitle : theme_.nodeBorder;
    painter.fillRect(rect, view_.known ? body : theme_.error.darker(200));
    painter.fillRect(view_.titleRect(), selected ? theme_.selection : title);
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

void NodeItem::paintTitle(QPainter& painter, bool withType) const {
  const double left = 10;
  const double width = NodeView::kWidth - 2 * left - (view_.gold ? 40 : 0);
  painter.setPen(theme_.text);
  drawLineText(painter, QPointF(left, 17), view_.title, titleFont(), width);
  if (!withType) return;
  painter.setPen(theme_.faintText);
  drawLineText(painter, QPointF(left, 31), view_.subtitle, smallFont(),
               NodeView::kWidth - 2 * left);
  if (!view_.gold) return;
  painter.setPen(theme_.warning);
  drawRowText(painter, QRectF(NodeView::kWidth - 48, 4, 38, 16), Qt::AlignRight,
              QStringLiteral("gold"), smallFont());
}

void NodeItem::paintPorts(QPainter& painter) const {
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
  drawRowText(painter, row, output ? Qt::AlignRight : Qt::AlignLeft, port.label, smallFont());
  painter.setOpacity(opacity);
}

void NodeItem::paintSettings(QPainter& painter) const {
  if (view_.settings.empty()) return;
  const double rows = static_cast<double>(std::max(view_.inputs.size(), view_.outputs.size()));
  double y = NodeView::kTitle + 6 + rows * NodeView::kRow + 6;
  painter.setPen(QPen(theme_.nodeBorder, 1));
  painter.drawLine(QPointF(8, y - 2), QPointF(NodeView::kWidth - 8, y - 2));
  painter.setPen(theme_.faintText);
  for (const QString& line : view_.settings) {
    drawRowText(painter, QRectF(12, y, NodeView::kWidth - 24, 16), Qt::AlignLeft, line,
                smallFont());
    y += 16;
  }
}

void NodeItem::paintBodies(QPainter& painter) const {
  for (std::size_t i = 0; i < view_.bodies.size(); ++i) {
    const BodyPreview& body = view_.bodies[i];
    const QRectF rect = view_.bodyRect(i);
    painter.setPen(QPen(phaseColor(i), 1.2, body.exists ? Qt::SolidLine : Qt::DotLine));
    painter.setBrush(theme_.canvas);
    painter.drawRoundedRect(rect, 4, 4);
    painter.setPen(body.exists ? theme_.faintText : theme_.error);
    const QRectF label = rect.adjusted(4, 2, -4, 0);
    const QString text = body.exists ? body.name : body.name + QStringLiteral("?");
    drawRowText(painter, QRectF(label.topLeft(), QSizeF(label.width(), 14)), Qt::AlignLeft, text,
                smallFont());
    const QRectF inside = rect.adjusted(4, 18, -4, -4);
    painter.setPen(Qt::NoPen);
    painter.setBrush(theme_.nodeBorder);
    for (const QRectF& box : body.boxes) {
      painter.drawRect(QRectF(inside.left() + box.left() * inside.width(),
                              inside.top() + box.top() * inside.height(),
                              box.width() * inside.width(), box.height() * inside.height()));
    }
  }
  if (view_.bodies.size() > 1) paintTimeline(painter);
}

QColor NodeItem::phaseColor(std::size_t body) const {
  if (view_.bodies.size() < 2) return theme_.nodeBorder;
  // Okabe and Ito's colours, those that differ in lightness too.
  static constexpr std::array<QRgb, 4> colors = {0xff56b4e9, 0xffe69f00, 0xff009e73, 0xffcc79a7};
  const QColor color(colors[body % colors.size()]);
  return theme_.dark ? color : color.darker(135);
}

void NodeItem::paintTimeline(QPainter& painter) const {
  const QRectF bodies = view_.bodiesRect();
  const QRectF strip(bodies.left(), bodies.bottom() + 5, bodies.width() - 3,
                     NodeView::kTimeline - 4);
  painter.setPen(Qt::NoPen);
  painter.setBrush(theme_.canvas);
  painter.drawRect(strip);
  for (const PhaseSpan& span : view_.timeline) {
    painter.setBrush(phaseColor(static_cast<std::size_t>(std::max(0, span.phase))));
    // The phases stand at heights of their own too, so that colour is not the only sign.
    const double part = strip.height() / static_cast<double>(view_.bodies.size());
    const double top = strip.top() + part * span.phase;
    painter.drawRect(QRectF(strip.left() + span.from * strip.width(), top,
                            std::max(1.0, (span.to - span.from) * strip.width()),
                            std::max(2.0, part)));
  }
}

void NodeItem::paintState(QPainter& painter, double detail, double pixels) const {
  const NodeActivity& activity = view_.activity;
  const QRectF rect = view_.rect();
  if (activity.held) {
    painter.setPen(QPen(theme_.warning, 3 / std::clamp(detail, 0.1, 1.0)));
    painter.setBrush(Qt::NoBrush);
    painter.drawRoundedRect(rect.adjusted(-4, -4, 4, 4), 8, 8);
  }
  if (activity.state == NodeState::idle) return;
  // Thick where nothing else of the node can be read, else below its last row.
  const bool alone = pixels < kTitlesBelow;
  const double height = alone ? 6 / std::max(detail, 0.1) : 4;
  const double top = alone ? rect.bottom() - height : rect.bottom() - 2;
  painter.fillRect(QRectF(rect.left(), top, rect.width(), height), stateColor());
  const bool failed = activity.state == NodeState::failed;
  if (alone || (activity.count == 0 && !failed)) return;
  painter.setPen(stateColor());
  if (failed) {
    drawLineText(painter, QPointF(rect.left() + 2, rect.bottom() + 13), activity.error, smallFont(),
                 NodeView::kWidth - 4);
    return;
  }
  painter.setFont(smallFont());
  // Another text at every firing: not worth keeping.
  const QString text = QStringLiteral("%1%2  %3")
                           .arg(QChar(0x00d7))
                           .arg(activity.count)
                           .arg(durationText(activity.seconds));
  painter.drawText(QPointF(rect.left() + 2, rect.bottom() + 13), text);
}

void NodeItem::paintBadge(QPainter& painter, double detail) const {
  // Grows while zooming out, so that an error is seen when everything is on the screen.
  const double size = std::clamp(9 / std::max(detail, 0.05), 9.0, 60.0);
  // Where a run failed is as wrong as what does not check.
  const bool failed = view_.activity.state == NodeState::failed;
  const auto shown = failed ? std::optional(Severity::error) : view_.badge;
  if (shown) {
    const QColor color = *shown == Severity::error     ? theme_.error
                         : *shown == Severity::warning ? theme_.warning
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
                     *shown == Severity::note ? QStringLiteral("i") : QStringLiteral("!"));
  }
  if (view_.breakpoint) paintBreakpoint(painter, size * 0.8);
}

void NodeItem::paintBreakpoint(QPainter& painter, double size) const {
  // Beside the title, which it would cover when it grows.
  const QPointF at(view_.rect().left() - size * 0.55, view_.rect().top() + size * 0.1);
  painter.setPen(QPen(theme_.canvas, 1.5));
  painter.setBrush(theme_.error);
  painter.drawEllipse(at, size, size);
  if (!view_.conditional) return;
  // Two bars, as in "equals": it waits for something.
  painter.setPen(QPen(theme_.dark ? QColor(Qt::black) : QColor(Qt::white), size * 0.25));
  for (const double y : {-0.25, 0.25}) {
    painter.drawLine(at + QPointF(-size * 0.5, size * y), at + QPointF(size * 0.5, size * y));
  }
}

void NodeItem::paintMode(QPainter& painter, double detail) const {
  if (view_.mode == NodeMode::normal) return;
  const QRectF rect = view_.rect();
  const bool muted = view_.mode == NodeMode::mute;
  QColor veil = theme_.canvas;
  veil.setAlpha(125);
  painter.setPen(Qt::NoPen);
  painter.setBrush(muted ? QBrush(veil) : QBrush(theme_.note, Qt::BDiagPattern));
  painter.drawRoundedRect(rect, 6, 6);
  if (detail < kBoxesBelow) return;
  const QString text = muted ? QStringLiteral("muted") : QStringLiteral("bypassed");
  const QRectF label(rect.right() - 66, rect.top() + 21, 60, 15);
  painter.setBrush(theme_.nodeBody);
  painter.setPen(QPen(theme_.note, 1));
  painter.drawRoundedRect(label, 4, 4);
  painter.setPen(theme_.text);
  painter.setFont(smallFont());
  painter.drawText(label, Qt::AlignCenter, text);
}

}  // namespace rewardloom
