// Where a wire that would run behind nodes passes instead.
#pragma once
#include <QPainterPath>
#include <QPointF>
#include <QRectF>
#include <functional>
#include <vector>

namespace rewardloom {

// QPainterPath::intersects() means the area that a path encloses; a wire is its line alone.
bool lineMeets(const QPainterPath& line, const QRectF& rect);
bool linesCross(const QPainterPath& a, const QPainterPath& b);

/// Dots for a wire from `from` to `to` so that it passes none of `obstacles`; none where the plain
/// curve does not. `way` is how the layout would go (may be empty); `curve` draws a wire through
/// dots.
std::vector<QPointF> dotsAround(
    QPointF from, QPointF to, const std::vector<QPointF>& way, const std::vector<QRectF>& obstacles,
    const std::function<QPainterPath(QPointF, QPointF, const std::vector<QPointF>&)>& curve);

}  // namespace rewardloom
