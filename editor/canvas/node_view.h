// A node as the canvas shows it: what is written on it and where its ports are. Plain values, so
// that drawing and hit tests agree and can be tested without a window.
#pragma once
#include <QPointF>
#include <QRectF>
#include <QString>
#include <optional>
#include <vector>

#include "editor/canvas/body_preview.h"
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
  bool held = false;  ///< the run waits before it
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
  bool boundary = false;   ///< a subgraph's own ports, seen from inside
  bool breakpoint = false;
  bool conditional = false;  ///< the breakpoint has a condition
  NodeMode mode = NodeMode::normal;
  std::vector<BodyPreview> bodies;  ///< what is inside, in small
  std::vector<PhaseSpan> timeline;  ///< of a schedule, as far as the run has come
  std::optional<Severity> badge;
  QString badgeText;
  NodeActivity activity;

  QRectF rect() const;
  QRectF titleRect() const;
  QPointF portPoint(bool output, std::size_t index) const;
  /// The port within reach of a point, in the node's coordinates.
  std::optional<PortEnd> portAt(QPointF point, double reach) const;
  /// Where the inside is drawn; empty where there is none.
  QRectF bodiesRect() const;
  QRectF bodyRect(std::size_t index) const;
  /// The body drawn at a point of the node, or empty.
  QString bodyAt(QPointF point) const;
  const PortView* port(const PortEnd& end) const;

  static constexpr double kWidth = 200;
  static constexpr double kTitle = 38;
  static constexpr double kRow = 20;
  static constexpr double kBodies = 62;    ///< height of the inside
  static constexpr double kState = 16;     ///< the line below a node while it runs
  static constexpr double kTimeline = 12;  ///< below it, where there are several bodies
};

NodeView makeBoundaryView(const Document& document, const Scope& scope, const std::string& name,
                          const Catalogue& catalogue, const Theme& theme);
NodeView makeNodeView(const Document& document, const Scope& scope, const GraphNode& node,
                      const Catalogue& catalogue, const Theme& theme);

}  // namespace rewardloom
