// The canvas' gestures: moving about, moving nodes, wiring, cutting. Every change is one step of
// the model's history.
#pragma once
#include <QGraphicsView>
#include <memory>
#include <optional>

#include "editor/canvas/graph_scene.h"

class QGraphicsPathItem;

namespace rewardloom {

class CanvasView final : public QGraphicsView {
  Q_OBJECT

 public:
  explicit CanvasView(GraphScene& scene, QWidget* parent = nullptr);

  GraphScene& graph() const { return graph_; }
  double zoom() const { return transform().m11(); }
  void zoomBy(double factor, QPointF viewPoint);
  void resetZoom();
  void fitAll();
  void fitSelection();
  void centerOnNode(const std::string& name);
  /// Scrolls as little as it takes to see the node.
  void showNode(const std::string& name);

  /// Lets the text of the selected frame or note be changed in place.
  void editSelectedText();
  void deleteSelection(bool heal);
  void duplicateSelection(bool keepInputs);
  void copySelection() const;
  /// Returns what could not be placed, in words.
  QStringList paste();
  void nudgeSelection(QPointF by);
  /// Selects the nearest node in a direction (x and y of -1, 0, 1).
  void walk(QPoint direction);
  void selectStream(bool upwards);
  void toggleCollapsed();
  /// Mutes or bypasses the selected nodes and those in selected frames, or ends that.
  void toggleMode(NodeMode mode);
  void frameSelection();
  void addNote();
  void groupSelection();
  enum class Align { left, right, top, bottom, horizontal, vertical };
  void alignSelection(Align how);
  /// Adds a node at a place of the scene, wired to `from` where it is given. Returns its name.
  std::string addNodeAt(const std::string& type, QPointF at, const std::optional<PortEnd>& from,
                        const std::string& port);
  /// Where a new node should go when no place was pointed at.
  QPointF freePlace() const;
  /// Enters the node's subgraph, if it has one; a container without a body gets an empty one.
  void enter(const std::string& node);
  void leave();

 Q_SIGNALS:
  /// A place to add a node was chosen; `from` is the port a wire was pulled out of.
  void searchRequested(QPoint globalPos, QPointF scenePos,
                       const std::optional<rewardloom::PortEnd>& from);
  void statusText(const QString& text);
  void portViewRequested(const rewardloom::PortEnd& end);
  void contextRequested(QPoint globalPos, QPointF scenePos);
  /// A container with several bodies was entered: which one?
  void bodyChoice(const QStringList& subgraphs);
  void viewChanged();

 protected:
  void wheelEvent(QWheelEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;
  void keyReleaseEvent(QKeyEvent* event) override;
  void contextMenuEvent(QContextMenuEvent* event) override;
  void drawBackground(QPainter* painter, const QRectF& rect) override;
  void scrollContentsBy(int dx, int dy) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  enum class Mode { idle, panning, wiring, movingWires, cutting, framing, dotting };
  struct WireDrag {
    PortEnd from;
    std::optional<Wire> picked;  ///< the wire that was taken off an input
    QPointF at;
  };

  void startWire(const PortEnd& end, bool moveAll, QPointF at);
  void dragWire(QPointF at);
  void dropWire(QPointF at, QPoint globalPos);
  void endWire();
  void dropOnPort(const PortEnd& target);
  void cutPort(const PortEnd& end);
  void finishCut();
  void markWireUnderNode();
  void commitMoves();
  void pullFrame(QPointF at);
  bool startDot(QPointF at);
  void openClickedWire(const QMouseEvent* event);
  void describe(QPointF at);
  void editText(const QRectF& sceneRect, const QString& text, bool lines,
                std::function<void(const QString&)> changed);
  void editFrame(std::size_t index);
  void editNote(std::size_t index);
  double reach() const { return 10 / std::max(zoom(), 0.3); }

  GraphScene& graph_;
  Mode mode_ = Mode::idle;
  bool spaceDown_ = false;
  bool cutDown_ = false;
  QPoint last_;
  std::optional<WireDrag> drag_;
  std::unique_ptr<QGraphicsPathItem> dragPath_;
  QPainterPath cutLine_;
  FrameItem* pulled_ = nullptr;
  QPointF pulledFrom_;
  WireItem* marked_ = nullptr;
  std::optional<std::pair<Wire, std::size_t>> dot_;
};

}  // namespace rewardloom
