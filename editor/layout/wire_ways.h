// Where a wire that would run behind nodes passes instead.
#pragma once
#include <QPainterPath>
#include <QPointF>
#include <QRectF>
#include <functional>
#include <map>
#include <utility>
#include <vector>

namespace rewardloom {

// QPainterPath::intersects() means the area that a path encloses; a wire is its line alone.
bool lineMeets(const QPainterPath& line, const QRectF& rect);
bool linesCross(const QPainterPath& a, const QPainterPath& b);

/// Draws a wire through dots.
using WireCurve = std::function<QPainterPath(QPointF, QPointF, const std::vector<QPointF>&)>;

/// Ways for many wires among the same nodes: what a wire could meet is found in a grid, so that the
/// time grows with the wires and their length, not with wires times nodes.
class WireWays {
 public:
  WireWays(std::vector<QRectF> obstacles, WireCurve curve);

  /// Dots for a wire from `from` to `to` so that it passes no obstacle but those it belongs to
  /// (`own`, by their places in the list); none where the plain curve does not. `way` is how the
  /// layout would go (may be empty). Where no way is free, the one that meets fewest.
  std::vector<QPointF> dots(QPointF from, QPointF to, const std::vector<QPointF>& way,
                            std::pair<std::size_t, std::size_t> own) const;
  /// The obstacles that a line meets, in their order.
  std::vector<std::size_t> met(const QPainterPath& line,
                               std::pair<std::size_t, std::size_t> own) const;
  /// What stands for no obstacle in `own`.
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

 private:
  using Cell = std::pair<int, int>;
  std::vector<QRectF> obstacles_;
  WireCurve curve_;
  std::map<Cell, std::vector<std::size_t>> cells_;
};

/// The same for one wire; `obstacles` without the nodes that it ends at.
std::vector<QPointF> dotsAround(QPointF from, QPointF to, const std::vector<QPointF>& way,
                                const std::vector<QRectF>& obstacles, const WireCurve& curve);

}  // namespace rewardloom
