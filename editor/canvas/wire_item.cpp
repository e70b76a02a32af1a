#include "editor/canvas/wire_item.h"

#include <QPainter>
#include <QStyleOptionGraphicsItem>
#include <algorithm>
#include <cmath>

#include "editor/canvas/graph_scene.h"

namespace rewardloom {
namespace {

constexpr double kReach = 7;
constexpr double kHistogramsFrom = 0.45;

void addCurve(QPainterPath& path, QPointF from, QPointF to) {
  double dx = std::max(30.0, std::abs(to.x() - from.x()) * 0.5);
  // One that goes back swings out, or it would be hidden by the nodes at its ends.
  if (to.x() < from.x()) dx = std::clamp(QLineF(from, to).length() * 0.5, dx, std::max(dx, 90.0));
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
  const QRectF around = path_.controlPointRect().adjusted(-kReach, -kReach, kReach, kReach);
  return histogram_ ? around | histogramBox().adjusted(-1, -1, 1, 1) : around;
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

void WireItem::setHistogram(const WireHistogram* histogram) {
  if (!histogram && !histogram_) return;
  if (histogram && histogram_ == *histogram) return;
  if (histogram_.has_value() != (histogram != nullptr)) prepareGeometryChange();
  histogram_ = histogram ? std::optional(*histogram) : std::nullopt;
  setToolTip(histogram_ ? histogram_->text : QString());
  update();
}

/// In the middle of the wire, or of the longest stretch between its dots.
QRectF WireItem::histogramBox() const {
  QPointF middle = (from_ + to_) / 2;
  double longest = -1;
  QPointF at = from_;
  for (std::size_t i = 0; i <= dots_.size(); ++i) {
    const QPointF next = i < dots_.size() ? dots_[i] : to_;
    const double length = std::hypot(next.x() - at.x(), next.y() - at.y());
    if (length > longest) {
      longest = length;
      middle = (at + next) / 2;
    }
    at = next;
  }
  const QPointF half(kWireHistogramSize.width() / 2, kWireHistogramSize.height() / 2);
  return {middle - half, kWireHistogramSize};
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
  const double pixels = detail * (painter->device() ? painter->device()->devicePixelRatioF() : 1);
  if (!histogram_ || pixels < kHistogramsFrom) return;
  paintWireHistogram(*painter, histogramBox(), *histogram_, color, theme_.canvas);
}

}  // namespace rewardloom
