// What the canvas does on a key or from a menu.
#include <QClipboard>
#include <QGuiApplication>
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "editor/canvas/canvas_view.h"
#include "editor/canvas/text_overlay.h"
#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

QPointF snapped(QPointF point) {
  return {std::round(point.x() / 20) * 20, std::round(point.y() / 20) * 20};
}

}  // namespace

void CanvasView::deleteSelection(bool heal) {
  const auto names = graph_.selectedNodes();
  std::vector<Wire> wires;
  std::set<std::size_t> frameIndices, noteIndices;
  for (QGraphicsItem* item : graph_.selectedItems()) {
    if (item->type() == WireItem::WireItemType_) {
      wires.push_back(static_cast<WireItem*>(item)->wire());
    } else if (item->type() == FrameItem::Type) {
      frameIndices.insert(static_cast<FrameItem*>(item)->index());
    } else if (item->type() == NoteItem::Type) {
      noteIndices.insert(static_cast<NoteItem*>(item)->index());
    }
  }
  const Scope scope = graph_.scope();
  graph_.model().edit(tr("Delete"), [&](Document& document) {
    const auto without = [](auto list, const std::set<std::size_t>& gone) {
      for (auto it = gone.rbegin(); it != gone.rend(); ++it) {
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(*it));
      }
      return list;
    };
    if (!frameIndices.empty()) {
      setFrames(document, scope, without(frames(document, scope), frameIndices));
    }
    if (!noteIndices.empty()) {
      setNotes(document, scope, without(notes(document, scope), noteIndices));
    }
    for (const Wire& wire : wires) disconnectPorts(document, scope, wire);
    removeNodes(document, scope, names, heal, graph_.model().catalogue());
  });
}

void CanvasView::duplicateSelection(bool keepInputs) {
  const auto names = graph_.selectedNodes();
  if (names.empty()) return;
  std::vector<std::string> made;
  graph_.model().edit(tr("Duplicate"), [&](Document& document) {
    graph_.keepSuggested(document);
    made = duplicateNodes(document, graph_.scope(), names, QPointF(40, 40), keepInputs);
  });
  graph_.selectNodes(made);
}

void CanvasView::copySelection() const {
  const auto names = graph_.selectedNodes();
  if (names.empty()) return;
  QGuiApplication::clipboard()->setText(copyText(graph_.model().document(), graph_.scope(), names));
}

QStringList CanvasView::paste() {
  PasteResult result;
  const QString text = QGuiApplication::clipboard()->text();
  const QPointF at = snapped(mapToScene(mapFromGlobal(QCursor::pos())));
  const QPointF place = rect().contains(mapFromGlobal(QCursor::pos())) ? at : freePlace();
  graph_.model().edit(tr("Paste"), [&](Document& document) {
    graph_.keepSuggested(document);
    result = pasteText(document, graph_.scope(), text, place);
  });
  graph_.selectNodes(result.names);
  return QStringList(result.remarks.begin(), result.remarks.end());
}

void CanvasView::nudgeSelection(QPointF by) {
  const auto names = graph_.selectedNodes();
  graph_.model().edit(
      tr("Move"),
      [&](Document& document) {
        graph_.keepSuggested(document);
        for (const std::string& name : names) {
          setPosition(document, graph_.scope(), name, graph_.nodeItem(name)->pos() + by);
        }
      },
      QStringLiteral("nudge"));
}

void CanvasView::walk(QPoint direction) {
  const auto selected = graph_.selectedNodes();
  const NodeItem* from = selected.empty() ? nullptr : graph_.nodeItem(selected[0]);
  const QPointF start = from ? from->pos() : mapToScene(rect().center());
  double best = std::numeric_limits<double>::max();
  const NodeItem* found = nullptr;
  for (const auto& [name, item] : graph_.nodeItems()) {
    if (item == from) continue;
    const QPointF d = item->pos() - start;
    const double along = d.x() * direction.x() + d.y() * direction.y();
    const double across = std::abs(d.x() * direction.y()) + std::abs(d.y() * direction.x());
    if (from && along <= 0) continue;
    const double cost = std::abs(along) + 2 * across;
    if (cost >= best) continue;
    best = cost;
    found = item;
  }
  if (!found) return;
  graph_.selectNodes({found->view().name});
  ensureVisible(found, 80, 80);
}

void CanvasView::selectStream(bool upwards) {
  const auto start = graph_.selectedNodes();
  std::set<std::string> seen(start.begin(), start.end());
  std::vector<std::string> open = start;
  const auto wires = wiresOf(graph_.model().document(), graph_.scope());
  while (!open.empty()) {
    const std::string node = open.back();
    open.pop_back();
    for (const Wire& wire : wires) {
      const std::string& here = upwards ? wire.node : wire.from.node;
      const std::string& there = upwards ? wire.from.node : wire.node;
      if (here == node && seen.insert(there).second) open.push_back(there);
    }
  }
  graph_.selectNodes({seen.begin(), seen.end()});
}

void CanvasView::toggleCollapsed() {
  const auto names = graph_.selectedNodes();
  if (names.empty()) return;
  const bool collapsed = !isCollapsed(graph_.model().document(), graph_.scope(), names[0]);
  graph_.model().edit(collapsed ? tr("Collapse") : tr("Expand"), [&](Document& document) {
    for (const std::string& name : names) setCollapsed(document, graph_.scope(), name, collapsed);
  });
}

void CanvasView::toggleMode(NodeMode mode) {
  std::vector<std::string> names = graph_.selectedNodes();
  for (QGraphicsItem* item : graph_.selectedItems()) {
    if (item->type() != FrameItem::Type) continue;
    const auto& around = static_cast<FrameItem*>(item)->frame().around;
    names.insert(names.end(), around.begin(), around.end());
  }
  const Document& document = graph_.model().document();
  const bool on = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    const GraphNode* node = findNode(document, graph_.scope(), name);
    return node && node->mode != mode;
  });
  const QString text = mode == NodeMode::mute ? (on ? tr("Mute") : tr("Unmute"))
                                              : (on ? tr("Bypass") : tr("End bypass"));
  graph_.model().edit(text, [&](Document& d) {
    for (const std::string& name : names) {
      if (GraphNode* node = findNode(d, graph_.scope(), name)) {
        node->mode = on ? mode : NodeMode::normal;
      }
    }
  });
}

void CanvasView::frameSelection() {
  const auto names = graph_.selectedNodes();
  if (names.empty()) return;
  graph_.model().edit(tr("Frame"), [&](Document& document) {
    std::vector<Frame> list = frames(document, graph_.scope());
    list.push_back({tr("Frame"), names, {}});
    setFrames(document, graph_.scope(), list);
  });
  editFrame(graph_.frameItems().size() - 1);
}

void CanvasView::editText(const QRectF& sceneRect, const QString& text, bool lines,
                          std::function<void(const QString&)> changed) {
  const auto taken = [text, changed = std::move(changed)](const QString& now) {
    if (now != text) changed(now);
  };
  auto* overlay = new TextOverlay(text, lines, taken, viewport());  // deletes itself
  QRect rect = mapFromScene(sceneRect).boundingRect();
  rect.setSize(rect.size().expandedTo(QSize(180, lines ? 70 : 30)));
  overlay->setGeometry(rect);
  overlay->show();
  overlay->setFocus();
}

void CanvasView::editFrame(std::size_t index) {
  const FrameItem* item = graph_.frameItems().at(index);
  editText(item->titleRect(), item->frame().title, false, [this, index](const QString& text) {
    graph_.model().edit(tr("Frame title"), [&](Document& document) {
      std::vector<Frame> list = frames(document, graph_.scope());
      if (index >= list.size()) return;
      list[index].title = text;
      setFrames(document, graph_.scope(), list);
    });
  });
}

void CanvasView::editNote(std::size_t index) {
  const std::vector<Note> list = notes(graph_.model().document(), graph_.scope());
  if (index >= list.size()) return;
  editText(list[index].rect, list[index].text, true, [this, index](const QString& text) {
    graph_.model().edit(tr("Note"), [&](Document& document) {
      std::vector<Note> now = notes(document, graph_.scope());
      if (index >= now.size()) return;
      now[index].text = text;
      setNotes(document, graph_.scope(), now);
    });
  });
}

void CanvasView::editSelectedText() {
  for (QGraphicsItem* item : graph_.selectedItems()) {
    if (item->type() == FrameItem::Type) return editFrame(static_cast<FrameItem*>(item)->index());
    if (item->type() == NoteItem::Type) return editNote(static_cast<NoteItem*>(item)->index());
  }
}

void CanvasView::addNote() {
  const QPointF at = snapped(freePlace());
  graph_.model().edit(tr("Note"), [&](Document& document) {
    std::vector<Note> list = notes(document, graph_.scope());
    list.push_back({tr("Note"), QRectF(at, QSizeF(220, 100))});
    setNotes(document, graph_.scope(), list);
  });
  editNote(notes(graph_.model().document(), graph_.scope()).size() - 1);
}

void CanvasView::groupSelection() {
  const auto names = graph_.selectedNodes();
  if (names.empty()) return;
  std::string made;
  graph_.model().edit(tr("Make subgraph"), [&](Document& document) {
    graph_.keepSuggested(document);
    made = makeSubgraph(document, graph_.scope(), names, "group", graph_.model().catalogue());
  });
  graph_.selectNodes({made});
}

void CanvasView::alignSelection(Align how) {
  const auto names = graph_.selectedNodes();
  if (names.size() < 2) return;
  const auto rectOf = [&](const std::string& name) {
    const NodeItem* item = graph_.nodeItem(name);
    return item->view().rect().translated(item->pos());
  };
  QRectF all;
  for (const std::string& name : names) all |= rectOf(name);
  graph_.model().edit(tr("Align"), [&](Document& document) {
    graph_.keepSuggested(document);
    for (const std::string& name : names) {
      QRectF r = rectOf(name);
      switch (how) {
        case Align::left: r.moveLeft(all.left()); break;
        case Align::right: r.moveRight(all.right()); break;
        case Align::top: r.moveTop(all.top()); break;
        case Align::bottom: r.moveBottom(all.bottom()); break;
        case Align::horizontal: r.moveCenter({all.center().x(), r.center().y()}); break;
        case Align::vertical: r.moveCenter({r.center().x(), all.center().y()}); break;
      }
      setPosition(document, graph_.scope(), name, r.topLeft());
    }
  });
}

std::string CanvasView::addNodeAt(const std::string& type, QPointF at,
                                  const std::optional<PortEnd>& from, const std::string& port) {
  std::string name;
  graph_.model().edit(tr("Add %1").arg(QString::fromStdString(type)), [&](Document& document) {
    const Catalogue& catalogue = graph_.model().catalogue();
    graph_.keepSuggested(document);
    const bool backwards = from && !from->output;
    const QPointF place = at - QPointF(backwards ? NodeView::kWidth : 0, NodeView::kTitle);
    name = addNode(document, graph_.scope(), type, snapped(place));
    if (!from || port.empty()) return;
    const Wire wire = from->output ? Wire{{from->node, from->port}, name, port}
                                   : Wire{{name, port}, from->node, from->port};
    connectPorts(document, graph_.scope(), wire, catalogue);
  });
  graph_.selectNodes({name});
  return name;
}

QPointF CanvasView::freePlace() const {
  const auto selected = graph_.selectedNodes();
  QPointF start = mapToScene(viewport()->rect().center()) - QPointF(NodeView::kWidth / 2, 60);
  if (!selected.empty()) {
    // Where the next node of a pipeline goes: to the right of the one just made.
    const NodeItem* last = graph_.nodeItem(selected.back());
    start = last->pos() + QPointF(NodeView::kWidth + 60, 0);
  }
  start = snapped(start);
  const auto taken = [&](QPointF point) {
    const QRectF wanted(point - QPointF(20, 20), QSizeF(NodeView::kWidth + 40, 180));
    for (const auto& [name, item] : graph_.nodeItems()) {
      if (item->view().rect().translated(item->pos()).intersects(wanted)) return true;
    }
    return false;
  };
  for (int i = 0; i < 400; ++i) {
    // Down, then up, then a column further.
    const int row = (i % 8 + 1) / 2 * (i % 2 ? 1 : -1);
    const QPointF at = start + QPointF(i / 8 * 260, row * 200);
    if (!taken(at)) return at;
  }
  return start;
}

void CanvasView::enter(const std::string& node) {
  const Document& document = graph_.model().document();
  const Catalogue& catalogue = graph_.model().catalogue();
  const GraphNode* found = findNode(document, graph_.scope(), node);
  if (!found) return;
  std::vector<std::string> there;
  for (const std::string& body : bodiesOf(*found, catalogue)) {
    if (document.subgraph(body)) there.push_back(body);
  }
  if (there.size() > 1) {
    QStringList names;
    for (const std::string& body : there) names << QString::fromStdString(body);
    Q_EMIT bodyChoice(names);
    return;
  }
  if (there.size() == 1) return graph_.setScope(there.front());
  const NodeDeclaration* type = catalogue.node(found->type);
  if (!type || type->bodies.empty()) return;
  std::string made;
  graph_.model().edit(tr("Make body"),
                      [&](Document& d) { made = makeBody(d, graph_.scope(), node, catalogue); });
  graph_.setScope(made);
  Q_EMIT statusText(
      tr("made an empty subgraph %1: add nodes, and pull wires from \"inputs\" and to \"outputs\"")
          .arg(QString::fromStdString(made)));
}

void CanvasView::leave() {
  if (graph_.scope().empty()) return;
  graph_.setScope(
      scopeAround(graph_.model().document(), graph_.scope(), graph_.model().catalogue()));
}

}  // namespace rewardloom
