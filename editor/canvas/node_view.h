// A node as the canvas shows it: what is written on it and where its ports are. Plain values, so
// that drawing and hit tests agree and can be tested without a window.
#pragma once
#include <QPointF>
#include <QRectF>
#include <QString>
#include <optional>
#include <vector>

#include "editor/canvas/wiring.h"
#include "editor/document/graph_edits.h"
#include "editor/theme.h"
#include "engine/core/problem.h"

namespace rewardloom {

enum class NodeState { idle, running, done, cached, stale, failed, skipped };

struct PortView {
  std::string name;
  QString label;
  QString tip;
  PortStyle style;
  bool wired = false;
  bool required = false;
};

/// What a run says of a node.
struct NodeActivity {
  NodeState state = NodeState::idle;
  qint64 count = 0;    ///< firings
  double seconds = 0;  ///< in all
  QString error;
  bool operator==(const NodeActivity&) const = default;
};

struct NodeView {
  std::string name;
  std::string type;
  QString title;     ///< the node's name
  QString subtitle;  ///< its type
  std::vector<PortView> inputs;
  std::vector<PortView> outputs;
  std::vector<QString> settings;  ///< parameters that differ from their default: "epsilon 1e-4"
  bool known = true;
  bool gold = false;
  bool collapsed = false;
  bool container = false;  ///< has an inside that can be entered
  bool breakpoint = false;
  std::optional<Severity> badge;
  QString badgeText;
  NodeActivity activity;

  QRectF rect() const;
  QRectF titleRect() const;
  QPointF portPoint(bool output, std::size_t index) const;
  /// The port within reach of a point, in the node's coordinates.
  std::optional<PortEnd> portAt(QPointF point, double reach) const;
  const PortView* port(const PortEnd& end) const;

  static constexpr double kWidth = 200;
  static constexpr double kTitle = 38;
  static constexpr double kRow = 20;
};

NodeView makeNodeView(const Document& document, const Scope& scope, const GraphNode& node,
                      const Catalogue& catalogue, const Theme& theme);

}  // namespace rewardloom
