#include "editor/canvas/graph_picture.h"

#include <QPainter>
#include <QPainterPath>
#include <algorithm>
#include <map>

#include "editor/canvas/body_preview.h"
#include "editor/document/graph_edits.h"

namespace rewardloom {
namespace {

std::string outputType(const Document& document, const Reference& from,
                       const Catalogue& catalogue) {
  const GraphNode* node = findNode(document, {}, from.node);
  const NodeDeclaration* type = node ? catalogue.node(node->type) : nullptr;
  const PortDeclaration* port = type ? type->output(from.port) : nullptr;
  return port ? port->type : std::string();
}

}  // namespace

QPixmap graphPicture(const Document& document, const Catalogue& catalogue, const Theme& theme,
                     QSize size, double pixelRatio) {
  QPixmap picture(size * pixelRatio);
  picture.setDevicePixelRatio(pixelRatio);
  picture.fill(theme.canvas);
  QPainter painter(&picture);
  painter.setRenderHint(QPainter::Antialiasing);
  const QRectF area = QRectF(QPointF(), size).adjusted(10, 10, -10, -10);
  Subgraph whole;
  whole.nodes = document.nodes;
  const std::vector<QRectF> boxes = nodeBoxes(whole);
  std::map<std::string, QRectF> places;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const QRectF& box = boxes[i];
    const double height = std::min(box.height() * area.height(), 26.0);
    const double middle = area.top() + box.center().y() * area.height();
    places[document.nodes[i].name] = {area.left() + box.left() * area.width(), middle - height / 2,
                                      box.width() * area.width(), height};
  }
  painter.setBrush(Qt::NoBrush);
  for (const Wire& wire : wiresOf(document, {})) {
    const auto from = places.find(wire.from.node), to = places.find(wire.node);
    if (from == places.end() || to == places.end()) continue;
    const QPointF start(from->second.right(), from->second.center().y());
    const QPointF end(to->second.left(), to->second.center().y());
    const double bend = std::max(6.0, (end.x() - start.x()) / 2);
    QPainterPath path(start);
    path.cubicTo(start + QPointF(bend, 0), end - QPointF(bend, 0), end);
    const std::string type = outputType(document, wire.from, catalogue);
    painter.setPen(QPen(portStyle(catalogue, type, {}, theme).color, 1.2));
    painter.drawPath(path);
  }
  for (const auto& [name, box] : places) {
    painter.setPen(QPen(theme.nodeBorder, 1));
    painter.setBrush(theme.nodeBody);
    painter.drawRoundedRect(box, 2, 2);
    painter.fillRect(
        QRectF(box.left() + 1, box.top() + 1, box.width() - 2, std::min(5.0, box.height() / 3)),
        theme.nodeTitle);
  }
  return picture;
}

}  // namespace rewardloom
