#include "editor/document/graph_layout.h"

#include <algorithm>

namespace rewardloom {
namespace {

// Members of a layout that are not a node's place.
constexpr const char* kFrames = "frames";
constexpr const char* kNotes = "notes";
constexpr const char* kDots = "dots";
constexpr const char* kCollapsed = "collapsed";
constexpr const char* kSubgraphs = "subgraphs";

const Json& layoutOf(const Document& document, const Scope& scope) {
  static const Json empty = Json::object();
  if (scope.empty()) return document.layout;
  const auto subgraphs = document.layout.find(kSubgraphs);
  if (subgraphs == document.layout.end() || !subgraphs->is_object()) return empty;
  const auto own = subgraphs->find(scope);
  return own == subgraphs->end() ? empty : *own;
}

Json& layoutOf(Document& document, const Scope& scope) {
  if (scope.empty()) return document.layout;
  Json& subgraphs = document.layout[kSubgraphs];
  if (!subgraphs.is_object()) subgraphs = Json::object();
  Json& own = subgraphs[scope];
  if (!own.is_object()) own = Json::object();
  return own;
}

bool isPoint(const Json& json) {
  return json.is_array() && json.size() == 2 && json[0].is_number() && json[1].is_number();
}

QPointF pointOf(const Json& json) { return {json[0].get<double>(), json[1].get<double>()}; }

Json jsonOf(QPointF point) {
  return Json::array({std::int64_t{qRound64(point.x())}, std::int64_t{qRound64(point.y())}});
}

QString textOf(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) return {};
  return QString::fromStdString(it->get<std::string>());
}

/// The member `key` of a layout, which must be a list; empty otherwise.
Json listOf(const Json& layout, const char* key) {
  const auto it = layout.find(key);
  return it != layout.end() && it->is_array() ? *it : Json::array();
}

void setList(Document& document, const Scope& scope, const char* key, const Json& list) {
  if (list.empty() && !layoutOf(std::as_const(document), scope).contains(key)) return;
  Json& layout = layoutOf(document, scope);
  if (list.empty()) {
    layout.erase(key);
  } else {
    layout[key] = list;
  }
}

std::string wireText(const Wire& wire) {
  return wire.from.text() + " -> " + wire.node + "." + wire.port;
}

std::optional<Wire> wireOf(const std::string& text) {
  const std::size_t arrow = text.find(" -> ");
  if (arrow == std::string::npos) return std::nullopt;
  const Reference to = Reference::parse(std::string_view(text).substr(arrow + 4));
  return Wire{Reference::parse(std::string_view(text).substr(0, arrow)), to.node, to.port};
}

}  // namespace

std::optional<QPointF> position(const Document& document, const Scope& scope,
                                const std::string& node) {
  const Json& layout = layoutOf(document, scope);
  const auto it = layout.find(node);
  if (it == layout.end() || !isPoint(*it)) return std::nullopt;
  return pointOf(*it);
}

void setPosition(Document& document, const Scope& scope, const std::string& node, QPointF at) {
  layoutOf(document, scope)[node] = jsonOf(at);
}

void forgetPosition(Document& document, const Scope& scope, const std::string& node) {
  if (!position(document, scope, node)) return;
  layoutOf(document, scope).erase(node);
}

void renamePosition(Document& document, const Scope& scope, const std::string& from,
                    const std::string& to) {
  if (const auto at = position(document, scope, from)) {
    forgetPosition(document, scope, from);
    setPosition(document, scope, to, *at);
  }
  std::vector<Frame> list = frames(document, scope);
  for (Frame& frame : list) std::replace(frame.around.begin(), frame.around.end(), from, to);
  setFrames(document, scope, list);
  std::vector<WireDots> dots = wireDots(document, scope);
  for (WireDots& d : dots) {
    if (d.wire.from.node == from) d.wire.from.node = to;
    if (d.wire.node == from) d.wire.node = to;
  }
  setWireDots(document, scope, dots);
  if (isCollapsed(document, scope, from)) {
    setCollapsed(document, scope, from, false);
    setCollapsed(document, scope, to, true);
  }
}

void renameScope(Document& document, const Scope& from, const Scope& to) {
  const auto subgraphs = document.layout.find(kSubgraphs);
  if (subgraphs == document.layout.end() || !subgraphs->contains(from)) return;
  Json places = (*subgraphs)[from];
  subgraphs->erase(from);
  (*subgraphs)[to] = std::move(places);
}

std::vector<Frame> frames(const Document& document, const Scope& scope) {
  std::vector<Frame> list;
  for (const Json& item : listOf(layoutOf(document, scope), kFrames)) {
    if (!item.is_object()) continue;
    Frame frame{textOf(item, "title"), {}, textOf(item, "color")};
    for (const Json& name : listOf(item, "around")) {
      if (name.is_string()) frame.around.push_back(name);
    }
    list.push_back(std::move(frame));
  }
  return list;
}

void setFrames(Document& document, const Scope& scope, const std::vector<Frame>& list) {
  Json json = Json::array();
  for (const Frame& frame : list) {
    Json item{{"title", frame.title.toStdString()}, {"around", frame.around}};
    if (!frame.color.isEmpty()) item["color"] = frame.color.toStdString();
    json.push_back(std::move(item));
  }
  setList(document, scope, kFrames, json);
}

std::vector<Note> notes(const Document& document, const Scope& scope) {
  std::vector<Note> list;
  for (const Json& item : listOf(layoutOf(document, scope), kNotes)) {
    if (!item.is_object() || !item.contains("at") || !isPoint(item["at"])) continue;
    QSizeF size(220, 100);
    if (item.contains("size") && isPoint(item["size"])) {
      size = {item["size"][0].get<double>(), item["size"][1].get<double>()};
    }
    list.push_back({textOf(item, "text"), QRectF(pointOf(item["at"]), size)});
  }
  return list;
}

void setNotes(Document& document, const Scope& scope, const std::vector<Note>& list) {
  Json json = Json::array();
  for (const Note& note : list) {
    const QPointF size(note.rect.width(), note.rect.height());
    json.push_back({{"text", note.text.toStdString()},
                    {"at", jsonOf(note.rect.topLeft())},
                    {"size", jsonOf(size)}});
  }
  setList(document, scope, kNotes, json);
}

std::vector<WireDots> wireDots(const Document& document, const Scope& scope) {
  std::vector<WireDots> list;
  for (const Json& item : listOf(layoutOf(document, scope), kDots)) {
    if (!item.is_object()) continue;
    const auto wire = wireOf(textOf(item, "wire").toStdString());
    if (!wire) continue;
    WireDots dots{*wire, {}};
    for (const Json& point : listOf(item, "points")) {
      if (isPoint(point)) dots.points.push_back(pointOf(point));
    }
    list.push_back(std::move(dots));
  }
  return list;
}

void setWireDots(Document& document, const Scope& scope, const std::vector<WireDots>& list) {
  Json json = Json::array();
  for (const WireDots& dots : list) {
    if (dots.points.empty()) continue;
    Json points = Json::array();
    for (const QPointF point : dots.points) points.push_back(jsonOf(point));
    json.push_back({{"wire", wireText(dots.wire)}, {"points", points}});
  }
  setList(document, scope, kDots, json);
}

bool isCollapsed(const Document& document, const Scope& scope, const std::string& node) {
  const Json list = listOf(layoutOf(document, scope), kCollapsed);
  return std::find(list.begin(), list.end(), Json(node)) != list.end();
}

void setCollapsed(Document& document, const Scope& scope, const std::string& node, bool collapsed) {
  if (isCollapsed(document, scope, node) == collapsed) return;
  Json list = listOf(layoutOf(document, scope), kCollapsed);
  if (collapsed) {
    list.push_back(node);
  } else {
    list.erase(std::find(list.begin(), list.end(), Json(node)));
  }
  setList(document, scope, kCollapsed, list);
}

}  // namespace rewardloom
