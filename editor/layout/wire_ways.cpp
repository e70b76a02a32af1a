#include "editor/layout/wire_ways.h"

#include <algorithm>
#include <cmath>

namespace rewardloom {
namespace {

constexpr double kClear = 16;  // between a wire and the node that it passes
constexpr double kGrid = 10;

/// The height of a way at x, between its points.
double heightAt(const std::vector<QPointF>& way, double x, double otherwise) {
  for (std::size_t i = 1; i < way.size(); ++i) {
    const QPointF a = way[i - 1], b = way[i];
    if (x < std::min(a.x(), b.x()) || x > std::max(a.x(), b.x()) || a.x() == b.x()) continue;
    return a.y() + (b.y() - a.y()) * (x - a.x()) / (b.x() - a.x());
  }
  return otherwise;
}

double besides(const QRectF& obstacle, double y) {
  const double above = obstacle.top() - kClear, below = obstacle.bottom() + kClear;
  if (y <= above || y >= below) return y;
  return y - above < below - y ? above : below;
}

std::vector<QLineF> piecesOf(const QPainterPath& path) {
  std::vector<QLineF> pieces;
  for (const QPolygonF& polygon : path.toSubpathPolygons()) {
    for (qsizetype i = 1; i < polygon.size(); ++i) pieces.emplace_back(polygon[i - 1], polygon[i]);
  }
  return pieces;
}

bool meet(const QLineF& a, const QLineF& b) {
  return a.intersects(b, nullptr) == QLineF::BoundedIntersection;
}

double snapped(double value) { return std::round(value / kGrid) * kGrid; }

}  // namespace

bool lineMeets(const QPainterPath& line, const QRectF& rect) {
  const QLineF sides[] = {{rect.topLeft(), rect.topRight()},
                          {rect.topRight(), rect.bottomRight()},
                          {rect.bottomRight(), rect.bottomLeft()},
                          {rect.bottomLeft(), rect.topLeft()}};
  for (const QLineF& piece : piecesOf(line)) {
    if (rect.contains(piece.p1()) || rect.contains(piece.p2())) return true;
    for (const QLineF& side : sides) {
      if (meet(piece, side)) return true;
    }
  }
  return false;
}

bool linesCross(const QPainterPath& a, const QPainterPath& b) {
  if (!a.controlPointRect()
           .adjusted(-1, -1, 1, 1)
           .intersects(b.controlPointRect().adjusted(-1, -1, 1, 1))) {
    return false;
  }
  const auto pieces = piecesOf(b);
  for (const QLineF& one : piecesOf(a)) {
    for (const QLineF& other : pieces) {
      if (meet(one, other)) return true;
    }
  }
  return false;
}

std::vector<QPointF> dotsAround(
    QPointF from, QPointF to, const std::vector<QPointF>& way, const std::vector<QRectF>& obstacles,
    const std::function<QPainterPath(QPointF, QPointF, const std::vector<QPointF>&)>& curve) {
  const QPainterPath plain = curve(from, to, {});
  const QRectF around = plain.boundingRect();
  std::vector<QRectF> crossed;
  for (const QRectF& obstacle : obstacles) {
    // A flat curve has no area to intersect with.
    if (!around.adjusted(-1, -1, 1, 1).intersects(obstacle)) continue;
    if (lineMeets(plain, obstacle.adjusted(-2, -2, 2, 2))) crossed.push_back(obstacle);
  }
  std::sort(crossed.begin(), crossed.end(),
            [](const QRectF& a, const QRectF& b) { return a.left() < b.left(); });
  std::vector<QPointF> dots;
  for (const QRectF& obstacle : crossed) {
    const QPointF middle = obstacle.center();
    const double straight =
        from.y() + (to.y() - from.y()) * (middle.x() - from.x()) / std::max(1.0, to.x() - from.x());
    const double y = snapped(besides(obstacle, heightAt(way, middle.x(), straight)));
    // Two dots of one height: straight past the node.
    for (const double x : {obstacle.left(), obstacle.right()}) {
      const bool forwards = dots.empty() ? x > from.x() + 10 : x > dots.back().x() + 10;
      if (forwards && x < to.x() - 10) dots.emplace_back(snapped(x), y);
    }
  }
  return dots;
}

}  // namespace rewardloom
