#include "editor/canvas/wire_item.h"

#include <QPainter>
#include <QStyleOptionGraphicsItem>
#include <algorithm>
#include <cmath>

#include "editor/canvas/graph_scene.h"

namespace rewardloom {
namespace {

constexpr double kReach = 7;

void addCurve(QPainterPath& path, QPointF from, QPointF to) {
  const double dx = std::max(30.0, std::abs(to.x() - from.x()) * 0.5);
  path.cubicTo(from + QPointF(dx, 0), to - QPointF(dx, 0), to);
}

}  // namespace

WireItem::WireItem(Wire wire, PortStyle style, const Theme& theme)
    : wire_(std::move(wire)), style_(style), theme_(theme) {
  setFlags(ItemIsSelectable);
  setZValue(1);
}

QPainterPath WireItem::curve(QPointF from, QPointF to, const std::vector<QPointF>& dots) {
  QPainterPath path(from);
  QPointF at = from;
  for (const QPointF dot : dots) {
    addCurve(path, at, dot);
    at = dot;
  }
  addCurve(path, at, to);
  return path;
}

void WireItem::rebuild() {
  prepareGeometryChange();
  path_ = curve(from_, to_, dots_);
}

QRectF WireItem::boundingRect() const {
  return path_.controlPointRect().adjusted(-kReach, -kReach, kReach, kReach);
}

QPainterPath WireItem::shape() const {
  QPainterPathStroker stroker;
  stroker.setWidth(2 * kReach);
  return stroker.createStroke(path_);
}

void WireItem::setEnds(QPointF from, QPointF to) {
  if (from == from_ && to == to_) return;
  from_ = from;
  to_ = to;
  rebuild();
}

void WireItem::setDots(std::vector<QPointF> dots) {
  if (dots == dots_) return;
  dots_ = std::move(dots);
  rebuild();
}

void WireItem::setStyle(const PortStyle& style) {
  style_ = style;
  update();
}

void WireItem::setProblem(std::optional<Severity> severity) {
  if (problem_ == severity) return;
  problem_ = severity;
  update();
}

void WireItem::setMarked(bool marked) {
  if (marked_ == marked) return;
  marked_ = marked;
  update();
}

bool WireItem::passesNear(QPointF point, double reach) const {
  const QRectF around(point - QPointF(reach, reach), QSizeF(2 * reach, 2 * reach));
  if (!boundingRect().intersects(around)) return false;
  // A flat wire has no area to intersect with: points along it are looked at instead.
  const int steps = std::clamp(static_cast<int>(path_.length() / reach) + 1, 8, 400);
  for (int i = 0; i <= steps; ++i) {
    if (around.contains(path_.pointAtPercent(static_cast<double>(i) / steps))) return true;
  }
  return false;
}

void WireItem::paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget*) {
  const double detail = option->levelOfDetailFromTransform(painter->worldTransform());
  QColor color = style_.color;
  if (problem_) color = *problem_ == Severity::error ? theme_.error : theme_.warning;
  const bool selected = option->state & QStyle::State_Selected;
  if (selected || marked_) color = theme_.selection;
  if (detail < 0.25) {
    painter->setRenderHint(QPainter::Antialiasing, false);
    painter->setPen(QPen(color, 0));
    QPointF at = from_;
    for (const QPointF dot : dots_) {
      painter->drawLine(at, dot);
      at = dot;
    }
    painter->drawLine(at, to_);
    return;
  }
  const auto* graph = qobject_cast<GraphScene*>(scene());
  painter->setRenderHint(QPainter::Antialiasing, !(graph && graph->inGesture()));
  QPen pen(color, selected || marked_ ? 3.2 : 2);
  // Patterns cost ten times a plain line: only where they can be told apart.
  if (detail >= 0.8) pen.setStyle(style_.pattern);
  painter->setPen(pen);
  painter->setBrush(Qt::NoBrush);
  painter->drawPath(path_);
  painter->setBrush(color);
  painter->setPen(Qt::NoPen);
  for (const QPointF dot : dots_) painter->drawEllipse(dot, 5, 5);
}

}  // namespace rewardloom
