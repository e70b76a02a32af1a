// Draws a node. Three levels of detail: boxes with their title colour and badges, titles,
// everything.
#pragma once
#include <QGraphicsItem>

#include "editor/canvas/node_view.h"
#include "editor/theme.h"

namespace rewardloom {

enum { NodeItemType = QGraphicsItem::UserType + 1, WireItemType, FrameItemType, NoteItemType };

/// How a port looks while a wire is being dragged.
enum class PortGlow { normal, fits, dim };

class NodeItem final : public QGraphicsItem {
 public:
  explicit NodeItem(NodeView view, const Theme& theme);

  int type() const override { return NodeItemType; }
  QRectF boundingRect() const override;
  QPainterPath shape() const override;
  void paint(QPainter* painter, const QStyleOptionGraphicsItem* option, QWidget* widget) override;

  const NodeView& view() const { return view_; }
  void setView(NodeView view);
  void setActivity(const NodeActivity& activity);
  void setTimeline(std::vector<PhaseSpan> timeline);
  void setBadge(std::optional<Severity> badge, const QString& text);
  void setBreakpoint(bool on, bool conditional);
  /// Called for each port while a wire is dragged; an empty function ends it.
  void setGlow(std::function<PortGlow(const PortEnd&)> glow);
  void markOutputsWired(const std::function<bool(const std::string&)>& wired);

  QPointF portScenePoint(const PortEnd& end) const;

 protected:
  QVariant itemChange(GraphicsItemChange change, const QVariant& value) override;

 private:
  void paintBox(QPainter& painter, bool selected, double detail) const;
  void paintTitle(QPainter& painter, bool withType) const;
  void paintPorts(QPainter& painter) const;
  void paintPort(QPainter& painter, const PortView& port, bool output, std::size_t index) const;
  void paintSettings(QPainter& painter) const;
  void paintBodies(QPainter& painter) const;
  void paintTimeline(QPainter& painter) const;
  void paintState(QPainter& painter, double detail, double pixels) const;
  void paintBadge(QPainter& painter, double detail) const;
  void paintBreakpoint(QPainter& painter, double size) const;
  void paintMode(QPainter& painter, double detail) const;
  QColor stateColor() const;
  QColor phaseColor(std::size_t body) const;

  NodeView view_;
  const Theme& theme_;
  std::function<PortGlow(const PortEnd&)> glow_;
};

}  // namespace rewardloom
