// Layered layout by Graphviz's `dot`, in a process of its own: the window never waits, a cancel is
// a kill, and a crash costs nothing.
#pragma once
#include <QObject>
#include <QPointF>
#include <QProcess>
#include <QSizeF>
#include <map>
#include <string>
#include <vector>

#include "editor/document/graph_edits.h"

namespace rewardloom {

struct LayoutNode {
  std::string name;
  QSizeF size;
  QPointF at;  ///< where it stands now
};

class AutoLayout final : public QObject {
  Q_OBJECT

 public:
  explicit AutoLayout(QObject* parent = nullptr);
  ~AutoLayout() override;

  /// Ends a layout that is under way. The result keeps the top left corner where it was.
  void start(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires);
  void cancel();
  bool isActive() const { return process_.state() != QProcess::NotRunning; }

 Q_SIGNALS:
  void done(const std::map<std::string, QPointF>& places);
  void failed(const QString& text);

 private:
  void read();

  QProcess process_;
  std::vector<LayoutNode> nodes_;
  QPointF corner_;
  bool cancelled_ = false;
};

/// The graph in Graphviz's language, nodes numbered, left to right.
QByteArray layoutInput(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires);
/// Places by name from `dot -Tplain`'s output, the corner at (0, 0).
std::map<std::string, QPointF> layoutPlaces(const QByteArray& plain,
                                            const std::vector<LayoutNode>& nodes);

}  // namespace rewardloom
