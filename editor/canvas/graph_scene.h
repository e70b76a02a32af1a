// The canvas' content: items that follow the model. It draws and finds; what a gesture means is
// decided in CanvasView.
#pragma once
#include <QGraphicsScene>
#include <QTimer>
#include <map>
#include <memory>
#include <set>

#include "editor/canvas/frame_items.h"
#include "editor/canvas/node_item.h"
#include "editor/canvas/wire_item.h"
#include "editor/document/graph_model.h"
#include "editor/layout/auto_layout.h"

namespace rewardloom {

class GraphScene final : public QGraphicsScene {
  Q_OBJECT

 public:
  GraphScene(GraphModel& model, Theme theme, QObject* parent = nullptr);

  GraphModel& model() const { return model_; }
  const Theme& theme() const { return theme_; }
  void setTheme(const Theme& theme);
  const Scope& scope() const { return scope_; }
  /// Shows the inside of a subgraph, or the graph (empty).
  void setScope(const Scope& scope);

  NodeItem* nodeItem(const std::string& name) const;
  WireItem* wireItem(const Wire& wire) const;
  const std::map<std::string, NodeItem*>& nodeItems() const { return nodes_; }
  std::vector<WireItem*> wireItems() const;
  std::vector<FrameItem*> frameItems() const { return frames_; }
  std::vector<std::string> selectedNodes() const;
  void selectNodes(const std::vector<std::string>& names);

  /// The node and port, or the wire, under a point of the scene.
  std::optional<PortEnd> portAt(QPointF point, double reach) const;
  NodeItem* nodeAt(QPointF point) const;
  WireItem* wireAt(QPointF point) const;

  void setActivities(const std::map<std::string, NodeActivity>& activities);
  /// By the nodes' paths, with their conditions or empty texts.
  /// Phases of schedules by the nodes' paths.
  void setTimelines(const std::map<std::string, std::vector<PhaseSpan>>& timelines);
  void setBreakpoints(const std::map<std::string, QString>& nodes);
  /// Lower detail until shortly after the last call: antialiasing is what zooming cannot afford.
  void beginGesture();
  bool inGesture() const { return gesture_.isActive(); }
  void nodeMoved(NodeItem& node);
  void setWireHistograms(const WireHistograms& histograms);
  QRectF contentRect() const;
  /// Where nodes that the file gives no place are shown; nothing is written until one is moved.
  void suggestPlaces(std::map<std::string, QPointF> places, std::vector<WireDots> dots = {});
  /// Writes the suggested places into a document that has none, or the first that is written would
  /// leave the others without. Part of every edit that places something.
  void keepSuggested(Document& document) const;
  /// Dots for the wires among these places, so that none runs behind a node.
  std::vector<WireDots> dotsFor(const std::map<std::string, QPointF>& places,
                                const AutoLayout::Ways& ways) const;
  bool hasPlaces() const;
  /// The nodes of the scope in the order of the file, then a subgraph's boundary.
  std::vector<std::string> shownNames() const;
  /// Whether a node without a place of its own stands elsewhere than suggested.
  bool movedByHand(const std::string& name, QPointF at) const;

 Q_SIGNALS:
  void scopeChanged();
  void rebuilt();

 private:
  void follow(const DocumentPatch& patch);
  void rebuild();
  void syncNode(const std::string& name);
  void removeNode(const std::string& name);
  void syncWires();
  void syncLayout();
  void syncFrames();
  void placeFrames();
  void syncBadges();
  static void showToolTip(NodeItem& item);
  void placeWire(WireItem& item);
  QPointF placeOf(const std::string& name, std::size_t index) const;
  QPointF boundaryPlace(const std::string& name) const;
  PortStyle styleOf(const Wire& wire) const;

  GraphModel& model_;
  Theme theme_;
  Scope scope_;
  std::map<std::string, NodeItem*> nodes_;
  std::map<Wire, WireItem*> wires_;
  std::map<std::string, std::vector<WireItem*>> wiresAt_;
  std::vector<FrameItem*> frames_;
  std::vector<NoteItem*> notes_;
  std::map<std::string, NodeActivity> activities_;
  std::map<std::string, QString> breakpoints_;
  std::map<std::string, std::vector<PhaseSpan>> timelines_;
  std::map<std::string, QPointF> suggested_;
  std::map<Wire, std::vector<QPointF>> suggestedDots_;  ///< of the scope that is shown
  QTimer gesture_;
  mutable std::optional<QRectF> content_;  ///< of contentRect(), until something moves
};

}  // namespace rewardloom
