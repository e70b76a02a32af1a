#include "editor/canvas/node_view.h"

#include <algorithm>
#include <cmath>

#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

constexpr std::size_t kMostSettings = 3;

QString valueText(const Json& value) {
  QString text = value.is_string() ? QString::fromStdString(value.get<std::string>())
                                   : QString::fromStdString(value.dump());
  if (text.size() > 26) text = text.left(25) + QChar(0x2026);
  return text;
}

PortView portView(const ShownPort& port, const Catalogue& catalogue, const Theme& theme,
                  bool wired) {
  PortView view;
  view.name = port.name;
  view.label = QString::fromStdString(port.name);
  view.style = portStyle(catalogue, port.type, port.dims, theme);
  view.wired = wired;
  view.required = !port.optional;
  const QString type =
      port.type.empty() ? QStringLiteral("unknown type") : QString::fromStdString(port.type);
  const QString dims = port.dims.empty()
                           ? QString()
                           : QStringLiteral(" [%1]").arg(QString::fromStdString(port.dims));
  view.tip = QStringLiteral("<b>%1</b>: %2%3<br>%4")
                 .arg(view.label, type, dims, QString::fromStdString(port.doc).toHtmlEscaped());
  return view;
}

}  // namespace

namespace {

double aboveBodies(const NodeView& view) {
  const double rows = static_cast<double>(std::max(view.inputs.size(), view.outputs.size()));
  const double lines = static_cast<double>(view.settings.size());
  const double gap = lines > 0 ? 6 : 0;
  return NodeView::kTitle + 6 + rows * NodeView::kRow + gap + lines * 16 + 4;
}

}  // namespace

QRectF NodeView::rect() const {
  if (collapsed) return {0, 0, kWidth, kTitle};
  double height = aboveBodies(*this);
  if (!bodies.empty()) height += kBodies + (bodies.size() > 1 ? kTimeline : 0) + 6;
  return {0, 0, kWidth, height};
}

QRectF NodeView::bodiesRect() const {
  if (bodies.empty() || collapsed) return {};
  return {8, aboveBodies(*this), kWidth - 16, kBodies};
}

QRectF NodeView::bodyRect(std::size_t index) const {
  const QRectF all = bodiesRect();
  const double width = all.width() / static_cast<double>(bodies.size());
  return {all.left() + static_cast<double>(index) * width, all.top(), width - 3, all.height()};
}

QString NodeView::bodyAt(QPointF point) const {
  for (std::size_t i = 0; i < bodies.size(); ++i) {
    if (bodies[i].exists && bodyRect(i).contains(point)) return bodies[i].name;
  }
  return {};
}

QRectF NodeView::titleRect() const { return {0, 0, kWidth, kTitle}; }

QPointF NodeView::portPoint(bool output, std::size_t index) const {
  const double x = output ? kWidth : 0;
  if (collapsed) return {x, kTitle / 2};
  return {x, kTitle + 6 + (static_cast<double>(index) + 0.5) * kRow};
}

std::optional<PortEnd> NodeView::portAt(QPointF point, double reach) const {
  if (collapsed) return std::nullopt;
  const auto nearest = [&](const std::vector<PortView>& ports,
                           bool output) -> std::optional<PortEnd> {
    for (std::size_t i = 0; i < ports.size(); ++i) {
      const QPointF at = portPoint(output, i);
      const bool onRow = std::abs(point.y() - at.y()) <= kRow / 2;
      if (onRow && std::abs(point.x() - at.x()) <= reach)
        return PortEnd{name, ports[i].name, output};
    }
    return std::nullopt;
  };
  if (const auto end = nearest(outputs, true)) return end;
  return nearest(inputs, false);
}

const PortView* NodeView::port(const PortEnd& end) const {
  for (const PortView& view : end.output ? outputs : inputs) {
    if (view.name == end.port) return &view;
  }
  return nullptr;
}

NodeView makeBoundaryView(const Document& document, const Scope& scope, const std::string& name,
                          const Catalogue& catalogue, const Theme& theme) {
  NodeView view;
  view.name = name;
  view.title = QString::fromStdString(name);
  view.subtitle = QStringLiteral("of ") + QString::fromStdString(scope);
  view.boundary = true;
  const ShownPorts ports = boundaryPorts(document, scope, name, catalogue);
  const auto shown = [&](const ShownPort& port) {
    PortView view = portView(port, catalogue, theme, port.name != kNewPort);
    if (port.name == kNewPort) view.label = QStringLiteral("new");
    return view;
  };
  for (const ShownPort& port : ports.inputs) view.inputs.push_back(shown(port));
  for (const ShownPort& port : ports.outputs) view.outputs.push_back(shown(port));
  return view;
}

NodeView makeNodeView(const Document& document, const Scope& scope, const GraphNode& node,
                      const Catalogue& catalogue, const Theme& theme) {
  NodeView view;
  view.name = node.name;
  view.type = node.type;
  view.title = QString::fromStdString(node.name);
  view.subtitle = QString::fromStdString(node.type);
  view.gold = node.role == "gold";
  view.mode = node.mode;
  const ShownPorts ports = portsOf(document, scope, node, catalogue);
  view.known = ports.known;
  for (const ShownPort& port : ports.inputs) {
    const InputEdges* edges = node.input(port.name);
    view.inputs.push_back(portView(port, catalogue, theme, edges && !edges->from.empty()));
  }
  for (const ShownPort& port : ports.outputs) {
    view.outputs.push_back(portView(port, catalogue, theme, false));
  }
  view.bodies = bodyPreviews(document, node, catalogue);
  const NodeDeclaration* type = catalogue.node(node.type);
  view.container = node.subgraph().has_value() || (type && !type->bodies.empty());
  for (const auto& [key, value] : node.params.items()) {
    const ParameterDeclaration* declared = type ? type->param(key) : nullptr;
    if (declared && declared->default_value == value) continue;
    if (view.settings.size() == kMostSettings) {
      view.settings.back() = QStringLiteral("%1 more").arg(node.params.size() - kMostSettings + 1);
      break;
    }
    view.settings.push_back(QString::fromStdString(key) + QStringLiteral("  ") + valueText(value));
  }
  return view;
}

}  // namespace rewardloom
