#include "editor/document/graph_diff.h"

#include <QStringList>
#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

namespace rewardloom {
namespace {

using Kind = Difference::Kind;

QString shownValue(const Json& value) {
  if (value.is_string()) return QString::fromStdString(value.get<std::string>());
  return QString::fromStdString(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

QString wiresText(const std::vector<Reference>& from) {
  QStringList names;
  for (const Reference& reference : from) names << QString::fromStdString(reference.text());
  return names.join(QStringLiteral(", "));
}

/// A node without its name, as a text by which a renamed one is recognised.
std::string contentOf(const GraphNode& node) {
  Json json{{"type", node.type},     {"about", node.about}, {"role", node.role},
            {"params", node.params}, {"other", node.other}, {"mode", to_string(node.mode)}};
  for (const InputEdges& input : node.inputs) {
    for (const Reference& from : input.from) json["inputs"][input.port].push_back(from.text());
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class Comparison {
 public:
  Comparison(const Document& before, const Document& after) : before_(before), after_(after) {}

  std::vector<Difference> all() {
    graphItself();
    level({}, before_.nodes, after_.nodes);
    for (const Subgraph& now : after_.subgraphs) {
      const Subgraph* was = before_.subgraph(now.name);
      if (!was) {
        add(Kind::added, now.name, {}, QObject::tr("subgraph"), {},
            QObject::tr("%1 nodes").arg(now.nodes.size()));
        continue;
      }
      subgraph(*was, now);
    }
    for (const Subgraph& was : before_.subgraphs) {
      if (after_.subgraph(was.name)) continue;
      add(Kind::removed, was.name, {}, QObject::tr("subgraph"),
          QObject::tr("%1 nodes").arg(was.nodes.size()), {});
    }
    return std::move(list_);
  }

 private:
  void add(Kind kind, const Scope& scope, const std::string& node, const QString& what,
           const QString& before, const QString& after) {
    list_.push_back({kind, scope, node, what, before, after});
  }

  void text(const Scope& scope, const std::string& node, const QString& what,
            const std::string& before, const std::string& after) {
    if (before == after) return;
    add(Kind::changed, scope, node, what, QString::fromStdString(before),
        QString::fromStdString(after));
  }

  void values(const Scope& scope, const std::string& node, const QString& what, const Json& before,
              const Json& after) {
    for (const auto& [key, value] : after.items()) {
      const QString name = what.arg(QString::fromStdString(key));
      const auto was = before.find(key);
      if (was == before.end()) {
        add(Kind::added, scope, node, name, {}, shownValue(value));
      } else if (*was != value) {
        add(Kind::changed, scope, node, name, shownValue(*was), shownValue(value));
      }
    }
    for (const auto& [key, value] : before.items()) {
      if (after.contains(key)) continue;
      add(Kind::removed, scope, node, what.arg(QString::fromStdString(key)), shownValue(value), {});
    }
  }

  void graphItself() {
    text({}, {}, QObject::tr("name"), before_.name, after_.name);
    text({}, {}, QObject::tr("about"), before_.about, after_.about);
    values({}, {}, QObject::tr("graph parameter %1"), before_.parameters, after_.parameters);
    values({}, {}, QObject::tr("setting %1"), before_.settings, after_.settings);
    values({}, {}, QObject::tr("placement of %1"), before_.placement, after_.placement);
    if (before_.layout != after_.layout) {
      add(Kind::changed, {}, {}, QObject::tr("layout"), {}, QObject::tr("places or frames moved"));
    }
  }

  void subgraph(const Subgraph& was, const Subgraph& now) {
    text(now.name, {}, QObject::tr("about"), was.about, now.about);
    values(now.name, {}, QObject::tr("parameter %1"), was.parameters, now.parameters);
    Json inputsWas = Json::object(), inputsNow = Json::object();
    for (const auto& [name, type] : was.inputs) inputsWas[name] = type;
    for (const auto& [name, type] : now.inputs) inputsNow[name] = type;
    values(now.name, {}, QObject::tr("input %1"), inputsWas, inputsNow);
    Json outputsWas = Json::object(), outputsNow = Json::object();
    for (const auto& [name, from] : was.outputs) outputsWas[name] = from.text();
    for (const auto& [name, from] : now.outputs) outputsNow[name] = from.text();
    values(now.name, {}, QObject::tr("output %1"), outputsWas, outputsNow);
    level(now.name, was.nodes, now.nodes);
  }

  using Names = std::unordered_map<std::string, const GraphNode*>;
  static Names byName(const std::vector<GraphNode>& nodes) {
    Names names;
    for (const GraphNode& node : nodes) names.emplace(node.name, &node);
    return names;
  }

  void level(const Scope& scope, const std::vector<GraphNode>& before,
             const std::vector<GraphNode>& after) {
    const Names was = byName(before), is = byName(after);
    const auto renamed = renames(before, after, was, is);
    std::set<std::string> moved;
    for (const GraphNode& node : after) {
      if (const auto old = was.find(node.name); old != was.end()) {
        compare(scope, *old->second, node, renamed);
        continue;
      }
      const auto from = std::find_if(renamed.begin(), renamed.end(),
                                     [&](const auto& pair) { return pair.second == node.name; });
      if (from == renamed.end()) {
        add(Kind::added, scope, node.name, {}, {}, QString::fromStdString(node.type));
        continue;
      }
      moved.insert(from->first);
      add(Kind::renamed, scope, node.name, {}, QString::fromStdString(from->first),
          QString::fromStdString(node.name));
    }
    for (const GraphNode& node : before) {
      if (is.contains(node.name) || moved.contains(node.name)) continue;
      add(Kind::removed, scope, node.name, {}, QString::fromStdString(node.type), {});
    }
  }

  /// Old name to new, where exactly one node went and one came with the same content.
  static std::map<std::string, std::string> renames(const std::vector<GraphNode>& before,
                                                    const std::vector<GraphNode>& after,
                                                    const Names& was, const Names& is) {
    std::map<std::string, std::vector<std::string>> gone, come;
    for (const GraphNode& node : before) {
      if (!is.contains(node.name)) gone[contentOf(node)].push_back(node.name);
    }
    for (const GraphNode& node : after) {
      if (!was.contains(node.name)) come[contentOf(node)].push_back(node.name);
    }
    std::map<std::string, std::string> pairs;
    for (const auto& [content, names] : gone) {
      const auto there = come.find(content);
      if (there == come.end() || names.size() != 1 || there->second.size() != 1) continue;
      pairs[names[0]] = there->second[0];
    }
    return pairs;
  }

  void compare(const Scope& scope, const GraphNode& was, const GraphNode& now,
               const std::map<std::string, std::string>& renamed) {
    if (was == now) return;
    text(scope, now.name, QObject::tr("type"), was.type, now.type);
    text(scope, now.name, QObject::tr("about"), was.about, now.about);
    text(scope, now.name, QObject::tr("role"), was.role, now.role);
    text(scope, now.name, QObject::tr("mode"), std::string(to_string(was.mode)),
         std::string(to_string(now.mode)));
    values(scope, now.name, QObject::tr("parameter %1"), was.params, now.params);
    values(scope, now.name, QObject::tr("key %1"), was.other, now.other);
    wires(scope, was, now, renamed);
    if (was.on_error != now.on_error || was.deadline != now.deadline) {
      add(Kind::changed, scope, now.name, QObject::tr("on_error, deadline"), policy(was),
          policy(now));
    }
  }

  static QString policy(const GraphNode& node) {
    QStringList parts;
    if (node.on_error) {
      parts << QString::fromStdString(std::string(to_string(node.on_error->action)));
    }
    if (node.deadline) parts << QObject::tr("%1 s").arg(*node.deadline);
    return parts.join(QStringLiteral(", "));
  }

  void wires(const Scope& scope, const GraphNode& was, const GraphNode& now,
             const std::map<std::string, std::string>& renamed) {
    const auto mapped = [&](std::vector<Reference> from) {
      for (Reference& reference : from) {
        const auto it = renamed.find(reference.node);
        if (it != renamed.end()) reference.node = it->second;
      }
      return from;
    };
    for (const InputEdges& input : now.inputs) {
      const QString what = QObject::tr("wire %1").arg(QString::fromStdString(input.port));
      const InputEdges* old = was.input(input.port);
      if (!old) {
        add(Kind::added, scope, now.name, what, {}, wiresText(input.from));
      } else if (mapped(old->from) != input.from) {
        add(Kind::changed, scope, now.name, what, wiresText(old->from), wiresText(input.from));
      }
    }
    for (const InputEdges& input : was.inputs) {
      if (now.input(input.port)) continue;
      add(Kind::removed, scope, now.name,
          QObject::tr("wire %1").arg(QString::fromStdString(input.port)), wiresText(input.from),
          {});
    }
  }

  const Document& before_;
  const Document& after_;
  std::vector<Difference> list_;
};

}  // namespace

std::vector<Difference> differences(const Document& before, const Document& after) {
  return Comparison(before, after).all();
}

QString differenceSummary(const std::vector<Difference>& list) {
  int added = 0, removed = 0, renamed = 0;
  std::set<std::pair<Scope, std::string>> changed;
  bool graph = false;
  for (const Difference& d : list) {
    const bool whole = !d.node.empty() && d.what.isEmpty();
    if (whole && d.kind == Kind::added) ++added;
    if (whole && d.kind == Kind::removed) ++removed;
    if (whole && d.kind == Kind::renamed) ++renamed;
    if (!d.node.empty() && !whole) changed.insert({d.scope, d.node});
    graph = graph || d.node.empty();
  }
  QStringList parts;
  const auto say = [&](int count, const QString& text) {
    if (count > 0) parts << text.arg(count);
  };
  say(added, QObject::tr("%1 added"));
  say(removed, QObject::tr("%1 removed"));
  say(renamed, QObject::tr("%1 renamed"));
  say(static_cast<int>(changed.size()), QObject::tr("%1 changed"));
  if (!parts.isEmpty()) parts.front().prepend(QObject::tr("nodes: "));
  if (graph) parts << QObject::tr("the graph itself differs");
  return parts.isEmpty() ? QObject::tr("no differences") : parts.join(QStringLiteral(", "));
}

}  // namespace rewardloom
