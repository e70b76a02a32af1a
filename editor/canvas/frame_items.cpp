#include "editor/canvas/frame_items.h"

#include <QPainter>
#include <QStyleOptionGraphicsItem>

namespace rewardloom {
namespace {

constexpr double kTitleHeight = 26;

QFont frameFont() {
  QFont font;
  font.setPixelSize(14);
  font.setBold(true);
  return font;
}

QFont noteFont() {
  QFont font;
  font.setPixelSize(13);
  return font;
}

}  // namespace

FrameItem::FrameItem(Frame frame, std::size_t index, const Theme& theme)
    : frame_(std::move(frame)), index_(index), theme_(theme) {
  setFlags(ItemIsSelectable);
  setZValue(-2);
}

void FrameItem::setRect(const QRectF& rect) {
  if (rect == rect_) return;
  prepareGeometryChange();
  rect_ = rect;
}

QRectF FrameItem::titleRect() const {
  return {rect_.left(), rect_.top(), rect_.width(), kTitleHeight};
}

QPainterPath FrameItem::shape() const {
  // Only the title takes the mouse: what is inside stays reachable.
  QPainterPath path;
  path.addRect(titleRect());
  return path;
}

void FrameItem::paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget*) {
  const double detail = option->levelOfDetailFromTransform(painter->worldTransform());
  QColor fill(frame_.color);
  if (!fill.isValid()) fill = theme_.nodeTitle;
  const QColor edge = option->state & QStyle::State_Selected ? theme_.selection : fill;
  fill.setAlpha(theme_.dark ? 60 : 90);
  painter->setPen(QPen(edge, 1.5));
  painter->setBrush(fill);
  painter->drawRoundedRect(rect_, 8, 8);
  QFont font = frameFont();
  if (detail < 0.6) font.setPixelSize(static_cast<int>(std::min(48.0, 14 * 0.6 / detail)));
  painter->setFont(font);
  painter->setPen(theme_.text);
  painter->drawText(rect_.adjusted(10, 4, -10, 0), Qt::AlignLeft | Qt::AlignTop, frame_.title);
}

NoteItem::NoteItem(Note note, std::size_t index, const Theme& theme)
    : note_(std::move(note)), index_(index), theme_(theme) {
  setFlags(ItemIsSelectable | ItemIsMovable | ItemSendsGeometryChanges);
  setZValue(-1);
  setPos(note_.rect.topLeft());
}

QRectF NoteItem::boundingRect() const { return {QPointF(), note_.rect.size()}; }

void NoteItem::paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget*) {
  QColor paper = theme_.dark ? QColor(0x4a, 0x45, 0x2e) : QColor(0xff, 0xf6, 0xc9);
  painter->setPen(
      QPen(option->state & QStyle::State_Selected ? theme_.selection : paper.darker(120), 1.2));
  painter->setBrush(paper);
  painter->drawRoundedRect(boundingRect().adjusted(1, 1, -1, -1), 4, 4);
  if (option->levelOfDetailFromTransform(painter->worldTransform()) < 0.25) return;
  painter->setFont(noteFont());
  painter->setPen(theme_.text);
  painter->drawText(boundingRect().adjusted(8, 6, -8, -6), Qt::AlignLeft | Qt::TextWordWrap,
                    note_.text);
}

}  // namespace rewardloom
