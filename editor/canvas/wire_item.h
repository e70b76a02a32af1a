// Draws a wire from an output to an input, through its dots.
#pragma once
#include <QGraphicsItem>
#include <QPainterPath>

#include "editor/canvas/node_view.h"
#include "editor/canvas/wire_histogram.h"

namespace rewardloom {

class WireItem final : public QGraphicsItem {
 public:
  WireItem(Wire wire, PortStyle style, const Theme& theme);

  int type() const override { return WireItemType_; }
  static constexpr int WireItemType_ = QGraphicsItem::UserType + 2;
  QRectF boundingRect() const override;
  QPainterPath shape() const override;
  void paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget* widget) override;

  const Wire& wire() const { return wire_; }
  void setEnds(QPointF from, QPointF to);
  void setDots(std::vector<QPointF> dots);
  const std::vector<QPointF>& dots() const { return dots_; }
  void setStyle(const PortStyle& style);
  void setProblem(std::optional<Severity> severity);
  /// Marked as what a dragged node would be put into, or what a cut would take.
  void setMarked(bool marked);
  /// What flowed through it last, drawn on its middle.
  void setHistogram(const WireHistogram* histogram);
  const std::optional<WireHistogram>& histogram() const { return histogram_; }
  QPainterPath path() const { return path_; }
  bool passesNear(QPointF point, double reach) const;

  /// A curve that leaves to the right and arrives from the left.
  static QPainterPath curve(QPointF from, QPointF to, const std::vector<QPointF>& dots);

 private:
  void rebuild();
  QRectF histogramBox() const;

  Wire wire_;
  PortStyle style_;
  const Theme& theme_;
  QPointF from_, to_;
  std::vector<QPointF> dots_;
  QPainterPath path_;
  std::optional<Severity> problem_;
  bool marked_ = false;
  std::optional<WireHistogram> histogram_;
};

}  // namespace rewardloom
