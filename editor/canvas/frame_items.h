// Frames around nodes and notes on the canvas.
#pragma once
#include <QGraphicsItem>

#include "editor/document/graph_layout.h"
#include "editor/theme.h"

namespace rewardloom {

/// A titled rectangle behind its nodes; dragging its title moves them.
class FrameItem final : public QGraphicsItem {
 public:
  FrameItem(Frame frame, std::size_t index, const Theme& theme);
  static constexpr int Type = QGraphicsItem::UserType + 3;
  int type() const override { return Type; }
  QRectF boundingRect() const override { return rect_.adjusted(-2, -2, 2, 2); }
  QPainterPath shape() const override;
  void paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget* widget) override;

  const Frame& frame() const { return frame_; }
  std::size_t index() const { return index_; }
  void setRect(const QRectF& rect);
  QRectF rect() const { return rect_; }
  QRectF titleRect() const;

 private:
  Frame frame_;
  std::size_t index_;
  const Theme& theme_;
  QRectF rect_;
};

class NoteItem final : public QGraphicsItem {
 public:
  NoteItem(Note note, std::size_t index, const Theme& theme);
  static constexpr int Type = QGraphicsItem::UserType + 4;
  int type() const override { return Type; }
  QRectF boundingRect() const override;
  void paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget* widget) override;

  const Note& note() const { return note_; }
  std::size_t index() const { return index_; }

 private:
  Note note_;
  std::size_t index_;
  const Theme& theme_;
};

}  // namespace rewardloom
