#include "editor/canvas/canvas_view.h"

#include <QContextMenuEvent>
#include <QGraphicsPathItem>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QScrollBar>
#include <QToolTip>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>

#include "editor/layout/wire_ways.h"

namespace rewardloom {
namespace {

constexpr double kSmallest = 0.05;
constexpr double kLargest = 4;
constexpr int kGridStep = 20;

QPointF snapped(QPointF point) {
  return {std::round(point.x() / kGridStep) * kGridStep,
          std::round(point.y() / kGridStep) * kGridStep};
}

QString endText(const PortEnd& end) { return QString::fromStdString(end.node + "." + end.port); }

}  // namespace

CanvasView::CanvasView(GraphScene& scene, QWidget* parent)
    : QGraphicsView(&scene, parent), graph_(scene) {
  setRenderHint(QPainter::Antialiasing);
  setViewportUpdateMode(QGraphicsView::SmartViewportUpdate);
  setOptimizationFlag(QGraphicsView::DontSavePainterState);
  setOptimizationFlag(QGraphicsView::DontAdjustForAntialiasing);
  setTransformationAnchor(QGraphicsView::NoAnchor);
  setResizeAnchor(QGraphicsView::AnchorViewCenter);
  setDragMode(QGraphicsView::RubberBandDrag);
  setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setVerticalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  setFrameShape(QFrame::NoFrame);
  setMouseTracking(true);
  setFocusPolicy(Qt::StrongFocus);
  setAccessibleName(tr("Graph canvas"));
  setSceneRect(-100000, -100000, 200000, 200000);
  setBackgroundBrush(graph_.theme().canvas);
  connect(&graph_, &GraphScene::scopeChanged, this, &CanvasView::fitAll);
}

void CanvasView::zoomBy(double factor, QPointF viewPoint) {
  const double now = zoom();
  const double next = std::clamp(now * factor, kSmallest, kLargest);
  if (next == now) return;
  graph_.beginGesture();
  const QPointF before = mapToScene(viewPoint.toPoint());
  setTransform(QTransform::fromScale(next, next));
  const QPointF after = mapToScene(viewPoint.toPoint());
  const QPointF shift = (after - before) * next;
  horizontalScrollBar()->setValue(horizontalScrollBar()->value() - qRound(shift.x()));
  verticalScrollBar()->setValue(verticalScrollBar()->value() - qRound(shift.y()));
  Q_EMIT viewChanged();
}

void CanvasView::resetZoom() { zoomBy(1 / zoom(), rect().center()); }

void CanvasView::fitAll() {
  const QRectF rect = graph_.contentRect();
  if (rect.isEmpty()) {
    setTransform(QTransform());
    centerOn(0, 0);
  } else {
    fitInView(rect.adjusted(-60, -60, 60, 60), Qt::KeepAspectRatio);
    if (zoom() > 1) {
      setTransform(QTransform());
      centerOn(rect.center());
    }
  }
  Q_EMIT viewChanged();
}

void CanvasView::fitSelection() {
  QRectF rect;
  for (const std::string& name : graph_.selectedNodes()) {
    const NodeItem* item = graph_.nodeItem(name);
    rect |= item->view().rect().translated(item->pos());
  }
  if (rect.isEmpty()) return fitAll();
  fitInView(rect.adjusted(-60, -60, 60, 60), Qt::KeepAspectRatio);
  if (zoom() > 1.5) {
    setTransform(QTransform::fromScale(1.5, 1.5));
    centerOn(rect.center());
  }
  Q_EMIT viewChanged();
}

void CanvasView::centerOnNode(const std::string& name) {
  NodeItem* item = graph_.nodeItem(name);
  if (!item) return;
  graph_.selectNodes({name});
  if (zoom() < 0.6) setTransform(QTransform());
  centerOn(item);
  item->setFocus();
  Q_EMIT viewChanged();
}

void CanvasView::showNode(const std::string& name) {
  if (const NodeItem* item = graph_.nodeItem(name)) ensureVisible(item, 60, 60);
}

void CanvasView::wheelEvent(QWheelEvent* event) {
  const double steps = event->angleDelta().y() / 120.0;
  if (steps == 0) return;
  double rate = 1.2;
  if (event->modifiers() & Qt::ControlModifier) rate = 1.05;
  if (event->modifiers() & Qt::ShiftModifier) rate = 1.6;
  zoomBy(std::pow(rate, steps), event->position());
  event->accept();
}

void CanvasView::mousePressEvent(QMouseEvent* event) {
  const QPointF at = mapToScene(event->pos());
  last_ = event->pos();
  const bool left = event->button() == Qt::LeftButton;
  if (event->button() == Qt::MiddleButton || (left && spaceDown_)) {
    mode_ = Mode::panning;
    viewport()->setCursor(Qt::ClosedHandCursor);
    return;
  }
  if (left && cutDown_) {
    mode_ = Mode::cutting;
    cutLine_ = QPainterPath(at);
    dragPath_ = std::make_unique<QGraphicsPathItem>();
    dragPath_->setPen(QPen(graph_.theme().error, 2 / zoom(), Qt::DashLine));
    dragPath_->setZValue(10);
    graph_.addItem(dragPath_.get());
    return;
  }
  if (left) {
    if (const auto end = graph_.portAt(at, reach())) {
      const bool show = event->modifiers() == (Qt::ControlModifier | Qt::ShiftModifier);
      if (show) {
        Q_EMIT portViewRequested(*end);
      } else if (event->modifiers() & Qt::AltModifier) {
        cutPort(*end);
      } else {
        startWire(*end, event->modifiers() & Qt::ControlModifier, at);
      }
      return;
    }
    if (startDot(at)) return;
    for (FrameItem* frame : graph_.frameItems()) {
      if (graph_.nodeAt(at) || !frame->titleRect().contains(at)) continue;
      if (!(event->modifiers() & Qt::ShiftModifier)) graph_.clearSelection();
      frame->setSelected(true);
      mode_ = Mode::framing;
      pulled_ = frame;
      pulledFrom_ = at;
      return;
    }
  }
  if (left && (event->modifiers() & Qt::AltModifier)) {
    if (NodeItem* node = graph_.nodeAt(at)) {
      if (!node->isSelected()) graph_.selectNodes({node->view().name});
      duplicateSelection(true);
    }
  }
  if (left && (event->modifiers() & Qt::ShiftModifier)) {
    if (NodeItem* node = graph_.nodeAt(at)) {
      node->setSelected(!node->isSelected());
      return;
    }
  }
  QGraphicsView::mousePressEvent(event);
}

void CanvasView::mouseMoveEvent(QMouseEvent* event) {
  const QPointF at = mapToScene(event->pos());
  switch (mode_) {
    case Mode::panning: {
      const QPoint by = event->pos() - last_;
      last_ = event->pos();
      horizontalScrollBar()->setValue(horizontalScrollBar()->value() - by.x());
      verticalScrollBar()->setValue(verticalScrollBar()->value() - by.y());
      return;
    }
    case Mode::wiring:
    case Mode::movingWires: return dragWire(at);
    case Mode::cutting:
      cutLine_.lineTo(at);
      dragPath_->setPath(cutLine_);
      for (WireItem* wire : graph_.wireItems()) wire->setMarked(linesCross(wire->path(), cutLine_));
      return;
    case Mode::framing: return pullFrame(at);
    case Mode::dotting: {
      if (WireItem* wire = dot_ ? graph_.wireItem(dot_->first) : nullptr) {
        std::vector<QPointF> dots = wire->dots();
        if (dot_->second < dots.size()) dots[dot_->second] = at;
        wire->setDots(std::move(dots));
      }
      return;
    }
    case Mode::idle: break;
  }
  QGraphicsView::mouseMoveEvent(event);
  if (event->buttons() & Qt::LeftButton) {
    markWireUnderNode();
  } else {
    describe(at);
  }
}

void CanvasView::mouseReleaseEvent(QMouseEvent* event) {
  const QPointF at = mapToScene(event->pos());
  const Mode mode = std::exchange(mode_, Mode::idle);
  switch (mode) {
    case Mode::panning:
      viewport()->setCursor(spaceDown_ ? Qt::OpenHandCursor : Qt::ArrowCursor);
      return;
    case Mode::wiring:
    case Mode::movingWires: mode_ = mode; return dropWire(at, event->globalPosition().toPoint());
    case Mode::cutting: return finishCut();
    case Mode::framing: pulled_ = nullptr; return commitMoves();
    case Mode::dotting: {
      const WireItem* item = dot_ ? graph_.wireItem(dot_->first) : nullptr;
      if (!item) return;
      const Wire wire = item->wire();
      const std::vector<QPointF> points = item->dots();
      graph_.model().edit(tr("Move dot"), [&](Document& document) {
        std::vector<WireDots> all = wireDots(document, graph_.scope());
        for (WireDots& dots : all) {
          if (dots.wire == wire) dots.points = points;
        }
        setWireDots(document, graph_.scope(), all);
      });
      return;
    }
    case Mode::idle: break;
  }
  QGraphicsView::mouseReleaseEvent(event);
  if (event->button() != Qt::LeftButton) return;
  WireItem* target = std::exchange(marked_, nullptr);
  if (target) target->setMarked(false);
  const auto selected = graph_.selectedNodes();
  if (target && selected.size() == 1 && !(event->modifiers() & Qt::AltModifier)) {
    const Wire wire = target->wire();
    const QPointF place = graph_.nodeItem(selected[0])->pos();
    graph_.model().edit(tr("Insert into wire"), [&](Document& document) {
      graph_.keepSuggested(document);
      setPosition(document, graph_.scope(), selected[0], snapped(place));
      insertIntoWire(document, graph_.scope(), graph_.model().catalogue(), selected[0], wire);
    });
    return;
  }
  commitMoves();
  openClickedWire(event);
}

/// A click that moves nothing opens the value of the wire under it.
void CanvasView::openClickedWire(const QMouseEvent* event) {
  const QPointF at = mapToScene(event->pos());
  const bool click = event->modifiers() == Qt::NoModifier &&
                     (event->pos() - last_).manhattanLength() < 4 && !graph_.nodeAt(at);
  const WireItem* wire = click ? graph_.wireAt(at) : nullptr;
  if (wire) Q_EMIT portViewRequested({wire->wire().from.node, wire->wire().from.port, true});
}

void CanvasView::markWireUnderNode() {
  const auto selected = graph_.selectedNodes();
  WireItem* found = nullptr;
  if (selected.size() == 1) {
    const NodeItem* node = graph_.nodeItem(selected[0]);
    const QPointF center = node->pos() + node->view().rect().center();
    for (WireItem* wire : graph_.wireItems()) {
      const Wire& w = wire->wire();
      if (w.node == selected[0] || w.from.node == selected[0]) continue;
      if (!wire->passesNear(center, 24)) continue;
      Document trial = graph_.model().document();
      if (insertIntoWire(trial, graph_.scope(), graph_.model().catalogue(), selected[0], w)) {
        found = wire;
        break;
      }
    }
  }
  if (found == marked_) return;
  if (marked_) marked_->setMarked(false);
  marked_ = found;
  if (marked_) marked_->setMarked(true);
}

void CanvasView::commitMoves() {
  std::vector<std::pair<std::string, QPointF>> moved;
  std::vector<std::pair<std::string, QPointF>> suggested;
  std::vector<std::pair<std::size_t, QPointF>> movedNotes;
  for (const auto& [name, item] : graph_.nodeItems()) {
    const auto place = position(graph_.model().document(), graph_.scope(), name);
    if (place && *place == item->pos()) continue;
    (graph_.movedByHand(name, item->pos()) ? moved : suggested).emplace_back(name, item->pos());
  }
  for (QGraphicsItem* item : graph_.selectedItems()) {
    if (item->type() != NoteItem::Type) continue;
    const auto* note = static_cast<NoteItem*>(item);
    if (note->pos() != note->note().rect.topLeft()) {
      movedNotes.emplace_back(note->index(), snapped(note->pos()));
    }
  }
  if (moved.empty() && movedNotes.empty()) return;
  // A graph with a place for one node has one for all, or they would stand on each other next time.
  moved.insert(moved.end(), suggested.begin(), suggested.end());
  for (auto& [name, at] : moved) at = snapped(at);
  const bool changed = graph_.model().edit(tr("Move"), [&](Document& document) {
    graph_.keepSuggested(document);
    for (const auto& [name, at] : moved) setPosition(document, graph_.scope(), name, at);
    if (movedNotes.empty()) return;
    std::vector<Note> list = notes(document, graph_.scope());
    for (const auto& [index, at] : movedNotes) list.at(index).rect.moveTopLeft(at);
    setNotes(document, graph_.scope(), list);
  });
  if (changed) return;
  for (const auto& [name, at] : moved) graph_.nodeItem(name)->setPos(at);
}

void CanvasView::pullFrame(QPointF at) {
  if (!pulled_) return;
  const QPointF by = at - pulledFrom_;
  pulledFrom_ = at;
  for (const std::string& name : pulled_->frame().around) {
    if (NodeItem* item = graph_.nodeItem(name)) item->moveBy(by.x(), by.y());
  }
}

void CanvasView::mouseDoubleClickEvent(QMouseEvent* event) {
  const QPointF at = mapToScene(event->pos());
  if (const NodeItem* node = graph_.nodeAt(at)) {
    const QString body = node->view().bodyAt(at - node->pos());
    return body.isEmpty() ? enter(node->view().name) : graph_.setScope(body.toStdString());
  }
  for (const FrameItem* frame : graph_.frameItems()) {
    if (frame->titleRect().contains(at)) return editFrame(frame->index());
  }
  for (QGraphicsItem* item : graph_.items(at)) {
    if (item->type() == NoteItem::Type) return editNote(static_cast<NoteItem*>(item)->index());
  }
  if (WireItem* item = graph_.wireAt(at)) {
    const Wire wire = item->wire();
    graph_.model().edit(tr("Add dot"), [&](Document& document) {
      std::vector<WireDots> all = wireDots(document, graph_.scope());
      const auto own = std::find_if(all.begin(), all.end(),
                                    [&](const WireDots& dots) { return dots.wire == wire; });
      if (own == all.end()) {
        all.push_back({wire, {snapped(at)}});
      } else {
        own->points.push_back(snapped(at));
        std::sort(own->points.begin(), own->points.end(),
                  [](QPointF a, QPointF b) { return a.x() < b.x(); });
      }
      setWireDots(document, graph_.scope(), all);
    });
    return;
  }
  Q_EMIT searchRequested(event->globalPosition().toPoint(), at, std::nullopt);
}

bool CanvasView::startDot(QPointF at) {
  for (WireItem* item : graph_.wireItems()) {
    for (std::size_t i = 0; i < item->dots().size(); ++i) {
      if (QLineF(item->dots()[i], at).length() > reach()) continue;
      mode_ = Mode::dotting;
      dot_ = {item->wire(), i};
      return true;
    }
  }
  return false;
}

void CanvasView::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Space && !event->isAutoRepeat()) {
    spaceDown_ = true;
    viewport()->setCursor(Qt::OpenHandCursor);
    return;
  }
  if (event->key() == Qt::Key_Y && event->modifiers() == Qt::NoModifier) {
    cutDown_ = true;
    viewport()->setCursor(Qt::CrossCursor);
    return;
  }
  if (event->key() == Qt::Key_Escape && drag_) return endWire();
  QGraphicsView::keyPressEvent(event);
}

void CanvasView::keyReleaseEvent(QKeyEvent* event) {
  if (event->isAutoRepeat()) return;
  if (event->key() == Qt::Key_Space) spaceDown_ = false;
  if (event->key() == Qt::Key_Y) cutDown_ = false;
  if (mode_ == Mode::idle) viewport()->unsetCursor();
  QGraphicsView::keyReleaseEvent(event);
}

void CanvasView::focusOutEvent(QFocusEvent* event) {
  spaceDown_ = cutDown_ = false;
  viewport()->unsetCursor();
  QGraphicsView::focusOutEvent(event);
}

void CanvasView::contextMenuEvent(QContextMenuEvent* event) {
  const QPointF at = mapToScene(event->pos());
  if (NodeItem* node = graph_.nodeAt(at); node && !node->isSelected()) {
    graph_.selectNodes({node->view().name});
  }
  Q_EMIT contextRequested(event->globalPos(), at);
}

void CanvasView::scrollContentsBy(int dx, int dy) {
  QGraphicsView::scrollContentsBy(dx, dy);
  Q_EMIT viewChanged();
}

void CanvasView::drawBackground(QPainter* painter, const QRectF& rect) {
  painter->fillRect(rect, graph_.theme().canvas);
  if (zoom() < 0.4) return;
  painter->setRenderHint(QPainter::Antialiasing, false);
  painter->setPen(QPen(graph_.theme().grid, 0));
  const double step = kGridStep * 5;
  QList<QLineF> lines;
  for (double x = std::floor(rect.left() / step) * step; x < rect.right(); x += step) {
    lines.append({x, rect.top(), x, rect.bottom()});
  }
  for (double y = std::floor(rect.top() / step) * step; y < rect.bottom(); y += step) {
    lines.append({rect.left(), y, rect.right(), y});
  }
  painter->drawLines(lines);
}

void CanvasView::startWire(const PortEnd& end, bool moveAll, QPointF at) {
  drag_ = WireDrag{end, std::nullopt, at};
  mode_ = moveAll && end.output ? Mode::movingWires : Mode::wiring;
  if (!end.output) {
    // Taking hold of a wired input takes its last wire off.
    for (const Wire& wire : wiresOf(graph_.model().document(), graph_.scope())) {
      if (wire.node == end.node && wire.port == end.port) drag_->picked = wire;
    }
    if (drag_->picked) {
      drag_->from = {drag_->picked->from.node, drag_->picked->from.port, true};
    }
  }
  dragPath_ = std::make_unique<QGraphicsPathItem>();
  dragPath_->setZValue(10);
  QColor color = graph_.theme().selection;
  if (const NodeItem* node = graph_.nodeItem(drag_->from.node)) {
    if (const PortView* port = node->view().port(drag_->from)) color = port->style.color;
  }
  dragPath_->setPen(QPen(color, 2.5));
  graph_.addItem(dragPath_.get());
  const PortEnd from = drag_->from;
  const bool moving = mode_ == Mode::movingWires;
  const auto glow = [this, from, moving](const PortEnd& other) {
    if (other == from) return PortGlow::normal;
    if (moving) return other.output ? PortGlow::fits : PortGlow::dim;
    const FitVerdict verdict =
        fitOf(graph_.model().document(), graph_.scope(), graph_.model().catalogue(), from, other);
    return verdict.fits || !verdict.converter.empty() ? PortGlow::fits : PortGlow::dim;
  };
  for (const auto& [name, item] : graph_.nodeItems()) {
    std::map<std::pair<std::string, bool>, PortGlow> known;
    for (const PortView& port : item->view().inputs) {
      known[{port.name, false}] = glow({name, port.name, false});
    }
    for (const PortView& port : item->view().outputs) {
      known[{port.name, true}] = glow({name, port.name, true});
    }
    item->setGlow([known](const PortEnd& end) { return known.at({end.port, end.output}); });
  }
  dragWire(at);
}

void CanvasView::dragWire(QPointF at) {
  drag_->at = at;
  const NodeItem* node = graph_.nodeItem(drag_->from.node);
  const QPointF from = node ? node->portScenePoint(drag_->from) : at;
  const bool forwards = drag_->from.output;
  dragPath_->setPath(WireItem::curve(forwards ? from : at, forwards ? at : from, {}));
  const auto end = graph_.portAt(at, reach());
  if (!end || *end == drag_->from) {
    QToolTip::hideText();
    Q_EMIT statusText(
        tr("%1: let go over a port, or in empty space to add a node").arg(endText(drag_->from)));
    return;
  }
  if (mode_ == Mode::movingWires) {
    Q_EMIT statusText(tr("all wires of %1 go to %2").arg(endText(drag_->from), endText(*end)));
    return;
  }
  const FitVerdict verdict = fitOf(graph_.model().document(), graph_.scope(),
                                   graph_.model().catalogue(), drag_->from, *end);
  const QString said = verdict.fits ? tr("%1 to %2").arg(endText(drag_->from), endText(*end))
                                    : tr("does not fit: %1").arg(verdict.reason);
  Q_EMIT statusText(said);
  // Where one looks while pulling.
  const QPoint beside = viewport()->mapToGlobal(mapFromScene(at)) + QPoint(12, 16);
  QToolTip::showText(beside, verdict.fits ? QString() : said, viewport());
}

void CanvasView::dropWire(QPointF at, QPoint globalPos) {
  const auto target = graph_.portAt(at, reach());
  if (target && !(*target == drag_->from)) {
    dropOnPort(*target);
    return endWire();
  }
  const WireDrag drag = *drag_;
  const Mode mode = mode_;
  endWire();
  if (target || mode == Mode::movingWires || graph_.nodeAt(at)) return;
  if (drag.picked) {
    graph_.model().edit(tr("Remove wire"), [&](Document& document) {
      disconnectPorts(document, graph_.scope(), *drag.picked);
    });
    return;
  }
  Q_EMIT statusText({});
  Q_EMIT searchRequested(globalPos, at, drag.from);
}

void CanvasView::dropOnPort(const PortEnd& target) {
  const Scope scope = graph_.scope();
  const Catalogue& catalogue = graph_.model().catalogue();
  const WireDrag drag = *drag_;
  if (mode_ == Mode::movingWires) {
    if (!target.output) return;
    graph_.model().edit(tr("Move wires"), [&](Document& document) {
      moveWires(document, scope, {drag.from.node, drag.from.port}, {target.node, target.port});
    });
    return;
  }
  const FitVerdict verdict = fitOf(graph_.model().document(), scope, catalogue, drag.from, target);
  const PortEnd& out = drag.from.output ? drag.from : target;
  const PortEnd& in = drag.from.output ? target : drag.from;
  if (!verdict.fits && verdict.converter.empty()) {
    Q_EMIT statusText(tr("not wired: %1").arg(verdict.reason));
    return;
  }
  graph_.model().edit(tr("Wire"), [&](Document& document) {
    if (drag.picked) disconnectPorts(document, scope, *drag.picked);
    if (verdict.fits) {
      connectPorts(document, scope, {{out.node, out.port}, in.node, in.port}, catalogue);
    } else {
      const QPointF middle =
          (graph_.nodeItem(out.node)->pos() + graph_.nodeItem(in.node)->pos()) / 2;
      connectThrough(document, scope, catalogue, verdict.converter, out, in, snapped(middle));
    }
  });
  if (!verdict.fits) {
    Q_EMIT statusText(tr("put %1 between them").arg(QString::fromStdString(verdict.converter)));
  }
}

void CanvasView::endWire() {
  QToolTip::hideText();
  for (const auto& [name, item] : graph_.nodeItems()) item->setGlow({});
  dragPath_.reset();
  drag_.reset();
  mode_ = Mode::idle;
}

void CanvasView::cutPort(const PortEnd& end) {
  graph_.model().edit(tr("Cut wires"), [&](Document& document) {
    for (const Wire& wire : wiresOf(document, graph_.scope())) {
      const bool hit = end.output ? wire.from == Reference{end.node, end.port}
                                  : wire.node == end.node && wire.port == end.port;
      if (hit) disconnectPorts(document, graph_.scope(), wire);
    }
  });
}

void CanvasView::finishCut() {
  std::vector<Wire> cut;
  for (WireItem* item : graph_.wireItems()) {
    if (linesCross(item->path(), cutLine_)) cut.push_back(item->wire());
    item->setMarked(false);
  }
  dragPath_.reset();
  if (cut.empty()) return;
  graph_.model().edit(tr("Cut wires"), [&](Document& document) {
    for (const Wire& wire : cut) disconnectPorts(document, graph_.scope(), wire);
  });
}

void CanvasView::describe(QPointF at) {
  const auto end = graph_.portAt(at, reach());
  if (!end) {
    viewport()->setToolTip({});
    return;
  }
  const NodeItem* node = graph_.nodeItem(end->node);
  const PortView* port = node ? node->view().port(*end) : nullptr;
  if (port) viewport()->setToolTip(port->tip);
}

}  // namespace rewardloom
