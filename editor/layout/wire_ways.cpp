#include "editor/layout/wire_ways.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace rewardloom {
namespace {

constexpr double kClear = 16;  // between a wire and the node that it passes
constexpr double kGrid = 10;
constexpr double kNear = 2;    // what counts as met
constexpr double kCell = 256;  // of the grid in which obstacles are found

void forEachCell(const QRectF& rect, const std::function<void(const std::pair<int, int>&)>& visit) {
  const auto index = [](double value) { return static_cast<int>(std::floor(value / kCell)); };
  for (int x = index(rect.left()); x <= index(rect.right()); ++x) {
    for (int y = index(rect.top()); y <= index(rect.bottom()); ++y) visit({x, y});
  }
}

/// The height of a way at x, between its points.
double heightAt(const std::vector<QPointF>& way, double x, double otherwise) {
  for (std::size_t i = 1; i < way.size(); ++i) {
    const QPointF a = way[i - 1], b = way[i];
    if (x < std::min(a.x(), b.x()) || x > std::max(a.x(), b.x()) || a.x() == b.x()) continue;
    return a.y() + (b.y() - a.y()) * (x - a.x()) / (b.x() - a.x());
  }
  return otherwise;
}

/// The height nearest to `y` that is clear of all these.
double besides(const std::vector<QRectF>& obstacles, double y) {
  std::vector<double> heights{y};
  for (const QRectF& obstacle : obstacles) {
    heights.push_back(obstacle.top() - kClear);
    heights.push_back(obstacle.bottom() + kClear);
  }
  const auto isClear = [&](double height) {
    return std::none_of(obstacles.begin(), obstacles.end(), [&](const QRectF& obstacle) {
      return height > obstacle.top() - kClear && height < obstacle.bottom() + kClear;
    });
  };
  double best = y, nearest = -1;
  for (const double height : heights) {
    const double away = std::abs(height - y);
    if (!isClear(height) || (nearest >= 0 && away >= nearest)) continue;
    best = height;
    nearest = away;
  }
  return best;
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

bool meets(const QLineF& piece, const QRectF& rect) {
  if (std::max(piece.x1(), piece.x2()) < rect.left() ||
      std::min(piece.x1(), piece.x2()) > rect.right() ||
      std::max(piece.y1(), piece.y2()) < rect.top() ||
      std::min(piece.y1(), piece.y2()) > rect.bottom()) {
    return false;
  }
  if (rect.contains(piece.p1()) || rect.contains(piece.p2())) return true;
  return meet(piece, {rect.topLeft(), rect.bottomRight()}) ||
         meet(piece, {rect.topRight(), rect.bottomLeft()});
}

/// Dots that lead past obstacles: above or below each group of them that share a column.
std::vector<QPointF> dotsPast(std::vector<QRectF> obstacles, QPointF from, QPointF to,
                              const std::vector<QPointF>& way) {
  std::sort(obstacles.begin(), obstacles.end(),
            [](const QRectF& a, const QRectF& b) { return a.left() < b.left(); });
  std::vector<QPointF> dots;
  for (std::size_t first = 0; first < obstacles.size();) {
    QRectF column = obstacles[first];
    std::size_t next = first + 1;
    for (; next < obstacles.size() && obstacles[next].left() < column.right(); ++next) {
      column |= obstacles[next];
    }
    const std::vector<QRectF> group(obstacles.begin() + static_cast<std::ptrdiff_t>(first),
                                    obstacles.begin() + static_cast<std::ptrdiff_t>(next));
    first = next;
    const double middle = column.center().x();
    const double straight =
        from.y() + (to.y() - from.y()) * (middle - from.x()) / std::max(1.0, to.x() - from.x());
    const double y = snapped(besides(group, heightAt(way, middle, straight)));
    // Two dots of one height: straight past the nodes.
    for (const double x : {column.left(), column.right()}) {
      const bool forwards = dots.empty() ? x > from.x() + 10 : x > dots.back().x() + 10;
      if (forwards && x < to.x() - 10) dots.emplace_back(snapped(x), y);
    }
  }
  return dots;
}

/// The places that the layout's own way, a spline, goes through.
std::vector<QPointF> dotsAlong(const std::vector<QPointF>& way, QPointF from, QPointF to) {
  std::vector<QPointF> dots;
  for (std::size_t i = 3; i + 1 < way.size(); i += 3) {
    const double x = snapped(way[i].x());
    const bool forwards = x > (dots.empty() ? from.x() : dots.back().x()) + 10;
    if (forwards && x < to.x() - 10) dots.emplace_back(x, snapped(way[i].y()));
  }
  return dots;
}

}  // namespace

bool lineMeets(const QPainterPath& line, const QRectF& rect) {
  const auto pieces = piecesOf(line);
  return std::any_of(pieces.begin(), pieces.end(),
                     [&](const QLineF& piece) { return meets(piece, rect); });
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

WireWays::WireWays(std::vector<QRectF> obstacles, WireCurve curve)
    : obstacles_(std::move(obstacles)), curve_(std::move(curve)) {
  for (std::size_t i = 0; i < obstacles_.size(); ++i) {
    forEachCell(obstacles_[i].adjusted(-kNear, -kNear, kNear, kNear),
                [&](const Cell& cell) { cells_[cell].push_back(i); });
  }
}

std::vector<std::size_t> WireWays::met(const QPainterPath& line,
                                       std::pair<std::size_t, std::size_t> own) const {
  std::set<std::size_t> found;
  for (const QLineF& piece : piecesOf(line)) {
    forEachCell(QRectF(piece.p1(), piece.p2()).normalized(), [&](const Cell& cell) {
      const auto there = cells_.find(cell);
      if (there == cells_.end()) return;
      for (const std::size_t i : there->second) {
        if (i == own.first || i == own.second || found.contains(i)) continue;
        if (meets(piece, obstacles_[i].adjusted(-kNear, -kNear, kNear, kNear))) found.insert(i);
      }
    });
  }
  return {found.begin(), found.end()};
}

std::vector<QPointF> WireWays::dots(QPointF from, QPointF to, const std::vector<QPointF>& way,
                                    std::pair<std::size_t, std::size_t> own) const {
  constexpr int kRounds = 8;
  std::vector<std::size_t> hits = met(curve_(from, to, {}), own);
  std::vector<QPointF> best;
  std::size_t fewest = hits.size();
  std::set<std::size_t> avoided;
  const auto attempt = [&](std::vector<QPointF> dots) {
    hits = met(curve_(from, to, dots), own);
    if (hits.size() >= fewest) return;
    fewest = hits.size();
    best = std::move(dots);
  };
  // A way around some nodes may meet others: they are avoided too in the next round.
  for (int round = 0; round < kRounds && fewest > 0; ++round) {
    const std::size_t before = avoided.size();
    avoided.insert(hits.begin(), hits.end());
    if (avoided.size() == before) break;
    std::vector<QRectF> rects;
    for (const std::size_t i : avoided) rects.push_back(obstacles_[i]);
    attempt(dotsPast(std::move(rects), from, to, way));
  }
  if (fewest > 0 && !way.empty()) attempt(dotsAlong(way, from, to));
  return best;
}

std::vector<QPointF> dotsAround(QPointF from, QPointF to, const std::vector<QPointF>& way,
                                const std::vector<QRectF>& obstacles, const WireCurve& curve) {
  return WireWays(obstacles, curve).dots(from, to, way, {WireWays::kNone, WireWays::kNone});
}

}  // namespace rewardloom
