#include "editor/canvas/graph_scene.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "editor/document/subgraph_edits.h"
#include "editor/layout/wire_ways.h"
#include "engine/core/node_paths.h"

namespace rewardloom {
namespace {

constexpr int kGestureMs = 80;
constexpr double kFrameMargin = 24;
constexpr double kFrameTitle = 34;

/// Nodes without a place stand in a row below everything, in the order of the file.
QPointF fallbackPlace(std::size_t index) {
  return {static_cast<double>(index % 6) * 260.0, static_cast<double>(index / 6) * 220.0};
}

}  // namespace

GraphScene::GraphScene(GraphModel& model, Theme theme, QObject* parent)
    : QGraphicsScene(parent), model_(model), theme_(std::move(theme)) {
  // A tree over thousands of moving items costs more than it saves; see the benchmarks.
  setItemIndexMethod(QGraphicsScene::BspTreeIndex);
  gesture_.setSingleShot(true);
  gesture_.setInterval(kGestureMs);
  connect(&gesture_, &QTimer::timeout, this, [this] { update(); });
  connect(&model_, &GraphModel::edited, this, &GraphScene::follow);
  connect(&model_, &GraphModel::replaced, this, [this] {
    if (!scope_.empty() && !model_.document().subgraph(scope_)) scope_.clear();
    rebuild();
    Q_EMIT scopeChanged();
  });
  connect(&model_, &GraphModel::problemsChanged, this, &GraphScene::syncBadges);
  rebuild();
}

void GraphScene::setTheme(const Theme& theme) {
  theme_ = theme;
  rebuild();
}

void GraphScene::setScope(const Scope& scope) {
  if (scope == scope_) return;
  scope_ = scope;
  suggestedDots_.clear();
  rebuild();
  Q_EMIT scopeChanged();
}

NodeItem* GraphScene::nodeItem(const std::string& name) const {
  const auto it = nodes_.find(name);
  return it == nodes_.end() ? nullptr : it->second;
}

WireItem* GraphScene::wireItem(const Wire& wire) const {
  const auto it = wires_.find(wire);
  return it == wires_.end() ? nullptr : it->second;
}

std::vector<WireItem*> GraphScene::wireItems() const {
  std::vector<WireItem*> list;
  for (const auto& [wire, item] : wires_) list.push_back(item);
  return list;
}

std::vector<std::string> GraphScene::selectedNodes() const {
  std::vector<std::string> names;
  for (const GraphNode& node : nodesOf(model_.document(), scope_)) {
    const NodeItem* item = nodeItem(node.name);
    if (item && item->isSelected()) names.push_back(node.name);
  }
  return names;
}

void GraphScene::selectNodes(const std::vector<std::string>& names) {
  clearSelection();
  for (const std::string& name : names) {
    if (NodeItem* item = nodeItem(name)) item->setSelected(true);
  }
}

std::optional<PortEnd> GraphScene::portAt(QPointF point, double reach) const {
  const QRectF around(point - QPointF(reach, reach), QSizeF(2 * reach, 2 * reach));
  for (QGraphicsItem* item : items(around, Qt::IntersectsItemBoundingRect)) {
    if (item->type() != NodeItemType) continue;
    const auto* node = static_cast<NodeItem*>(item);
    if (const auto end = node->view().portAt(point - node->pos(), reach)) return end;
  }
  return std::nullopt;
}

NodeItem* GraphScene::nodeAt(QPointF point) const {
  for (QGraphicsItem* item : items(point)) {
    if (item->type() != NodeItemType) continue;
    auto* node = static_cast<NodeItem*>(item);
    if (node->view().rect().contains(point - node->pos())) return node;
  }
  return nullptr;
}

WireItem* GraphScene::wireAt(QPointF point) const {
  for (QGraphicsItem* item : items(point)) {
    if (item->type() == WireItem::WireItemType_) return static_cast<WireItem*>(item);
  }
  return nullptr;
}

namespace {

/// Of the branches of a sweep that have the same node: counts and times in all, and the state that
/// most wants to be seen.
void merge(NodeActivity& into, const NodeActivity& other) {
  constexpr std::array<NodeState, 7> kOrder{
      NodeState::failed, NodeState::running, NodeState::stale, NodeState::done,
      NodeState::cached, NodeState::skipped, NodeState::idle};
  const auto rank = [&](NodeState state) { return std::find(kOrder.begin(), kOrder.end(), state); };
  if (rank(other.state) < rank(into.state)) into.state = other.state;
  into.count += other.count;
  into.seconds += other.seconds;
  into.held = into.held || other.held;
  if (into.error.isEmpty()) into.error = other.error;
}

}  // namespace

void GraphScene::setActivities(const std::map<std::string, NodeActivity>& activities) {
  activities_ = activities;
  const std::string prefix = pathPrefix(model_.document(), scope_, model_.catalogue());
  std::map<std::string, NodeActivity> ofBranches;
  for (const auto& [path, activity] : activities_) {
    if (path.find('[') == std::string::npos) continue;
    const std::string plain = without_branches(path);
    if (plain.starts_with(prefix)) merge(ofBranches[plain.substr(prefix.size())], activity);
  }
  for (const auto& [name, item] : nodes_) {
    const auto own = activities_.find(prefix + name);
    const auto branches = ofBranches.find(name);
    NodeActivity shown = own == activities_.end() ? NodeActivity() : own->second;
    if (branches != ofBranches.end()) merge(shown, branches->second);
    item->setActivity(shown);
    showToolTip(*item);
  }
}

void GraphScene::showToolTip(NodeItem& item) {
  QString text = item.view().badgeText;
  const QString& error = item.view().activity.error;
  if (!error.isEmpty()) {
    text += QStringLiteral("<p><b>%1</b> %2</p>")
                .arg(tr("the run failed here:"), error.toHtmlEscaped());
  }
  if (item.toolTip() != text) item.setToolTip(text);
}

void GraphScene::setTimelines(const std::map<std::string, std::vector<PhaseSpan>>& timelines) {
  timelines_ = timelines;
  const std::string prefix = pathPrefix(model_.document(), scope_, model_.catalogue());
  for (const auto& [name, item] : nodes_) {
    const auto it = timelines_.find(prefix + name);
    item->setTimeline(it == timelines_.end() ? std::vector<PhaseSpan>() : it->second);
  }
}

void GraphScene::setBreakpoints(const std::map<std::string, QString>& nodes) {
  breakpoints_ = nodes;
  const std::string prefix = pathPrefix(model_.document(), scope_, model_.catalogue());
  for (const auto& [name, item] : nodes_) {
    const auto it = breakpoints_.find(prefix + name);
    item->setBreakpoint(it != breakpoints_.end(),
                        it != breakpoints_.end() && !it->second.isEmpty());
  }
}

void GraphScene::setWireHistograms(const WireHistograms& histograms) {
  for (const auto& [wire, item] : wires_) {
    const auto it = histograms.find({wire.from.node, wire.from.port});
    item->setHistogram(it == histograms.end() ? nullptr : &it->second);
  }
}

QPointF GraphScene::placeOf(const std::string& name, std::size_t index) const {
  if (const auto place = position(model_.document(), scope_, name)) return *place;
  const auto it = suggested_.find(scope_ + "/" + name);
  if (it != suggested_.end()) return it->second;
  return isBoundary(name) ? boundaryPlace(name) : fallbackPlace(index);
}

void GraphScene::keepSuggested(Document& document) const {
  if (nodesOf(std::as_const(document), scope_).empty()) return;
  for (const GraphNode& node : nodesOf(std::as_const(document), scope_)) {
    if (position(document, scope_, node.name)) return;
  }
  for (const std::string& name : shownNames()) {
    if (const NodeItem* item = nodeItem(name)) setPosition(document, scope_, name, item->pos());
  }
  std::vector<WireDots> dots = wireDots(document, scope_);
  for (const auto& [wire, points] : suggestedDots_) dots.push_back({wire, points});
  if (!dots.empty()) setWireDots(document, scope_, dots);
}

std::vector<WireDots> GraphScene::dotsFor(const std::map<std::string, QPointF>& places,
                                          const AutoLayout::Ways& ways) const {
  std::vector<WireDots> list;
  std::vector<QRectF> obstacles;
  std::map<std::string, std::pair<const NodeItem*, std::size_t>> index;
  const auto placed = [&](const NodeItem& item) {
    const auto it = places.find(item.view().name);
    return it == places.end() ? item.pos() : it->second;
  };
  for (const auto& [name, item] : nodes_) {
    index[name] = {item, obstacles.size()};
    // A run writes its count and time below the node.
    obstacles.push_back(
        item->view().rect().adjusted(0, 0, 0, NodeView::kState).translated(placed(*item)));
  }
  const WireWays routes(std::move(obstacles), WireItem::curve);
  const std::vector<QPointF> none;
  for (const Wire& wire : wiresOf(model_.document(), scope_)) {
    const auto a = index.find(wire.from.node), b = index.find(wire.node);
    if (a == index.end() || b == index.end()) continue;
    if (!places.contains(wire.from.node) || !places.contains(wire.node)) continue;
    const auto [from, fromIndex] = a->second;
    const auto [to, toIndex] = b->second;
    const QPointF start =
        from->portScenePoint({wire.from.node, wire.from.port, true}) - from->pos() + placed(*from);
    const QPointF end = to->portScenePoint({wire.node, wire.port, false}) - to->pos() + placed(*to);
    const auto way = ways.find({wire.from.node, wire.node});
    auto points =
        routes.dots(start, end, way == ways.end() ? none : way->second, {fromIndex, toIndex});
    if (!points.empty()) list.push_back({wire, std::move(points)});
  }
  return list;
}

void GraphScene::suggestPlaces(std::map<std::string, QPointF> places, std::vector<WireDots> dots) {
  suggestedDots_.clear();
  for (WireDots& one : dots) suggestedDots_[one.wire] = std::move(one.points);
  for (const auto& [name, at] : places) suggested_[scope_ + "/" + name] = at;
  syncLayout();
}

bool GraphScene::movedByHand(const std::string& name, QPointF at) const {
  if (position(model_.document(), scope_, name)) return true;
  const auto names = shownNames();
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() || placeOf(name, static_cast<std::size_t>(it - names.begin())) != at;
}

std::vector<std::string> GraphScene::shownNames() const {
  std::vector<std::string> names;
  for (const GraphNode& node : nodesOf(model_.document(), scope_)) names.push_back(node.name);
  if (scope_.empty()) return names;
  names.emplace_back(kInputsNode);
  names.emplace_back(kOutputsNode);
  return names;
}

QPointF GraphScene::boundaryPlace(const std::string& name) const {
  QRectF inside;
  std::size_t index = 0;
  for (const GraphNode& node : nodesOf(model_.document(), scope_)) {
    inside |= QRectF(placeOf(node.name, index++), QSizeF(NodeView::kWidth, 120));
  }
  const double x = name == kInputsNode ? inside.left() - NodeView::kWidth - 80
                                       : std::max(inside.right(), inside.left() + 200) + 80;
  return {std::round(x / 20) * 20, inside.top()};
}

bool GraphScene::hasPlaces() const {
  for (const GraphNode& node : nodesOf(model_.document(), scope_)) {
    if (position(model_.document(), scope_, node.name)) return true;
  }
  return nodesOf(model_.document(), scope_).empty();
}

void GraphScene::beginGesture() { gesture_.start(); }

QRectF GraphScene::contentRect() const {
  if (content_) return *content_;
  QRectF rect;
  for (const auto& [name, item] : nodes_) {
    rect |= item->view().rect().translated(item->pos());
  }
  for (const FrameItem* frame : frames_) rect |= frame->rect();
  for (const NoteItem* note : notes_) rect |= note->sceneBoundingRect();
  content_ = rect;
  return rect;
}

void GraphScene::follow(const DocumentPatch& patch) {
  if (!scope_.empty() && !model_.document().subgraph(scope_)) {
    setScope({});
    return;
  }
  if (patch.touchesSubgraphs() || !scope_.empty()) {
    rebuild();
    return;
  }
  const auto touched = patch.touchedNodes();
  for (const std::string& name : touched) syncNode(name);
  if (!touched.empty()) syncWires();
  if (patch.touchesLayout()) syncLayout();
  if (!touched.empty()) Q_EMIT rebuilt();
}

void GraphScene::rebuild() {
  const std::vector<std::string> selected = selectedNodes();
  const auto shown = shownNames();
  const std::set<std::string> wanted(shown.begin(), shown.end());
  std::vector<std::string> gone;
  for (const auto& [name, item] : nodes_) {
    if (!wanted.contains(name)) gone.push_back(name);
  }
  for (const std::string& name : gone) removeNode(name);
  for (const std::string& name : wanted) syncNode(name);
  syncWires();
  syncLayout();
  syncBadges();
  setActivities(std::map(activities_));
  setBreakpoints(std::map(breakpoints_));
  setTimelines(std::map(timelines_));
  selectNodes(selected);
  update();
  Q_EMIT rebuilt();
}

void GraphScene::syncNode(const std::string& name) {
  const bool boundary = !scope_.empty() && isBoundary(name);
  const GraphNode* node = findNode(model_.document(), scope_, name);
  if (!node && !boundary) {
    removeNode(name);
    return;
  }
  NodeView view =
      boundary ? makeBoundaryView(model_.document(), scope_, name, model_.catalogue(), theme_)
               : makeNodeView(model_.document(), scope_, *node, model_.catalogue(), theme_);
  view.collapsed = isCollapsed(model_.document(), scope_, name);
  content_.reset();
  if (NodeItem* item = nodeItem(name)) {
    item->setView(std::move(view));
    return;
  }
  auto* item = new NodeItem(std::move(view), theme_);  // the scene owns its items
  item->setPos(placeOf(name, nodes_.size()));
  nodes_[name] = item;
  addItem(item);
}

void GraphScene::removeNode(const std::string& name) {
  const auto it = nodes_.find(name);
  if (it == nodes_.end()) return;
  content_.reset();
  const std::unique_ptr<NodeItem> owned(it->second);
  removeItem(owned.get());
  nodes_.erase(it);
}

void GraphScene::syncWires() {
  std::map<Wire, WireItem*> kept;
  std::set<std::pair<std::string, std::string>> used;
  for (const Wire& wire : wiresOf(model_.document(), scope_)) {
    used.insert({wire.from.node, wire.from.port});
    if (!nodes_.contains(wire.from.node) || !nodes_.contains(wire.node)) continue;
    if (const auto it = wires_.find(wire); it != wires_.end()) {
      it->second->setStyle(styleOf(wire));
      kept.insert(*it);
      wires_.erase(it);
      continue;
    }
    if (kept.contains(wire)) continue;
    auto* item = new WireItem(wire, styleOf(wire), theme_);  // the scene owns its items
    addItem(item);
    kept[wire] = item;
  }
  for (const auto& [wire, item] : wires_) {
    const std::unique_ptr<WireItem> owned(item);
    removeItem(item);
  }
  wires_ = std::move(kept);
  wiresAt_.clear();
  for (const auto& [wire, item] : wires_) {
    wiresAt_[wire.from.node].push_back(item);
    if (wire.node != wire.from.node) wiresAt_[wire.node].push_back(item);
    placeWire(*item);
  }
  for (const auto& [name, item] : nodes_) {
    item->markOutputsWired([&](const std::string& port) { return used.contains({name, port}); });
  }
}

PortStyle GraphScene::styleOf(const Wire& wire) const {
  const NodeItem* from = nodeItem(wire.from.node);
  const PortView* port = from ? from->view().port({wire.from.node, wire.from.port, true}) : nullptr;
  return port ? port->style : PortStyle{theme_.faintText, Qt::SolidLine};
}

void GraphScene::placeWire(WireItem& item) {
  const Wire& wire = item.wire();
  const NodeItem* from = nodeItem(wire.from.node);
  const NodeItem* to = nodeItem(wire.node);
  if (!from || !to) return;
  item.setEnds(from->portScenePoint({wire.from.node, wire.from.port, true}),
               to->portScenePoint({wire.node, wire.port, false}));
}

void GraphScene::nodeMoved(NodeItem& node) {
  content_.reset();
  const auto it = wiresAt_.find(node.view().name);
  if (it != wiresAt_.end()) {
    for (WireItem* wire : it->second) placeWire(*wire);
  }
  if (!frames_.empty()) placeFrames();
}

void GraphScene::syncLayout() {
  std::size_t index = 0;
  for (const std::string& name : shownNames()) {
    NodeItem* item = nodeItem(name);
    if (!item) continue;
    const bool collapsed = isCollapsed(model_.document(), scope_, name);
    if (collapsed != item->view().collapsed) {
      NodeView view = item->view();
      view.collapsed = collapsed;
      item->setView(std::move(view));
    }
    item->setPos(placeOf(name, index));
    ++index;
  }
  const bool suggested = !hasPlaces();
  for (const auto& [wire, item] : wires_) {
    const auto it = suggestedDots_.find(wire);
    item->setDots(suggested && it != suggestedDots_.end() ? it->second : std::vector<QPointF>());
  }
  for (const WireDots& dots : wireDots(model_.document(), scope_)) {
    if (WireItem* item = wireItem(dots.wire)) item->setDots(dots.points);
  }
  for (const auto& [wire, item] : wires_) placeWire(*item);
  syncFrames();
}

void GraphScene::syncFrames() {
  const auto clear = [this](auto& list) {
    for (auto* item : list) {
      const std::unique_ptr<QGraphicsItem> owned(item);
      removeItem(item);
    }
    list.clear();
  };
  clear(frames_);
  clear(notes_);
  const std::vector<Frame> frames = rewardloom::frames(model_.document(), scope_);
  for (std::size_t i = 0; i < frames.size(); ++i) {
    frames_.push_back(new FrameItem(frames[i], i, theme_));  // the scene owns its items
    addItem(frames_.back());
  }
  const std::vector<Note> notes = rewardloom::notes(model_.document(), scope_);
  for (std::size_t i = 0; i < notes.size(); ++i) {
    notes_.push_back(new NoteItem(notes[i], i, theme_));
    addItem(notes_.back());
  }
  placeFrames();
}

void GraphScene::placeFrames() {
  content_.reset();
  for (FrameItem* frame : frames_) {
    QRectF rect;
    for (const std::string& name : frame->frame().around) {
      if (const NodeItem* item = nodeItem(name)) {
        rect |= item->view().rect().translated(item->pos());
      }
    }
    if (rect.isNull()) rect = QRectF(0, 0, 200, 100);
    frame->setRect(rect.adjusted(-kFrameMargin, -kFrameTitle - 8, kFrameMargin, kFrameMargin));
  }
}

void GraphScene::syncBadges() {
  std::map<std::string, std::pair<Severity, QString>> worst;
  std::map<std::pair<std::string, std::string>, Severity> ports;
  const std::string prefix = pathPrefix(model_.document(), scope_, model_.catalogue());
  const std::string own = "subgraph." + scope_ + "/";
  for (const Problem& problem : model_.problems().problems) {
    std::string node = without_branches(problem.where.node);
    if (!scope_.empty()) {
      const std::string& front = node.starts_with(prefix) ? prefix : own;
      if (!node.starts_with(front)) continue;
      node = node.substr(front.size());
    }
    // What is wrong inside a subgraph shows on its node.
    const bool inside = node.find('/') != std::string::npos;
    if (inside) node = node.substr(0, node.find('/'));
    const QString text = QStringLiteral("<p><b>%1</b>: %2<br><i>%3</i></p>")
                             .arg(QString::fromStdString(problem.code),
                                  QString::fromStdString(problem.text).toHtmlEscaped(),
                                  QString::fromStdString(problem.help).toHtmlEscaped());
    const auto it = worst.emplace(node, std::pair(problem.severity, QString())).first;
    it->second.first = std::min(it->second.first, problem.severity);
    it->second.second += text;
    if (!inside && !problem.where.port.empty()) {
      ports.emplace(std::pair(node, problem.where.port), problem.severity);
    }
  }
  for (const auto& [name, item] : nodes_) {
    const auto it = worst.find(name);
    if (it == worst.end()) {
      item->setBadge(std::nullopt, {});
    } else {
      item->setBadge(it->second.first, it->second.second);
    }
    showToolTip(*item);
  }
  for (const auto& [wire, item] : wires_) {
    const auto it = ports.find({wire.node, wire.port});
    item->setProblem(it == ports.end() ? std::nullopt : std::optional(it->second));
  }
}

}  // namespace rewardloom
