// The whole graph in a corner: boxes and frames with their state, no wires; a click goes there.
#pragma once
#include <QWidget>

#include "editor/canvas/canvas_view.h"

namespace rewardloom {

class Minimap final : public QWidget {
  Q_OBJECT

 public:
  Minimap(CanvasView& view, QWidget* parent);
  QSize sizeHint() const override { return {200, 140}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  QRectF content() const;
  QTransform toMap() const;
  void goTo(QPointF at);

  CanvasView& view_;
};

}  // namespace rewardloom
