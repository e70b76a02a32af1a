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
  void start(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires,
             const std::vector<std::vector<std::string>>& frames = {});
  void cancel();
  /// How the last layout would lead its wires: by nodes, from -> to.
  using Ways = std::map<std::pair<std::string, std::string>, std::vector<QPointF>>;
  const Ways& ways() const { return ways_; }
  bool isActive() const { return process_.state() != QProcess::NotRunning; }

 Q_SIGNALS:
  void done(const std::map<std::string, QPointF>& places);
  void failed(const QString& text);

 private:
  void read();

  QProcess process_;
  std::vector<LayoutNode> nodes_;
  QPointF corner_;
  Ways ways_;
  bool cancelled_ = false;
};

/// The graph in Graphviz's language, nodes numbered, left to right. `frames` are names of nodes
/// that stay together; a node is kept in the first that has it.
QByteArray layoutInput(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires,
                       const std::vector<std::vector<std::string>>& frames = {});
/// Places by name from `dot -Tplain`'s output, the corner at (0, 0).
std::map<std::string, QPointF> layoutPlaces(const QByteArray& plain,
                                            const std::vector<LayoutNode>& nodes,
                                            AutoLayout::Ways* ways = nullptr);

}  // namespace rewardloom
