#include "editor/document/sweep_edits.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "editor/document/graph_layout.h"
#include "editor/document/subgraph_edits.h"
#include "engine/core/problem.h"
#include "engine/graph/parameters.h"

namespace rewardloom {
namespace {

constexpr int kMostBranches = 100;
constexpr int kDeepest = 32;  // a recursive subgraph is the checker's business

bool isNumber(const ParameterDeclaration& parameter) {
  return parameter.kind == ParameterKind::number || parameter.kind == ParameterKind::integer;
}

/// "from:to:steps" and "from:to:steps log" as numbers; nothing where the text is none of them.
std::optional<SweepValues> rangeOf(const ParameterDeclaration& parameter, const QString& text) {
  QString plain = text.trimmed();
  const bool log = plain.endsWith(QStringLiteral("log"));
  if (log) plain.chop(3);
  const QStringList parts = plain.split(QChar(':'));
  if (!isNumber(parameter) || parts.size() != 3) return std::nullopt;
  bool ok[3] = {false, false, false};
  const double from = parts[0].toDouble(&ok[0]), to = parts[1].toDouble(&ok[1]);
  const int steps = parts[2].trimmed().toInt(&ok[2]);
  if (!ok[0] || !ok[1] || !ok[2]) {
    return SweepValues{{}, QObject::tr("a range is from:to:steps, as 0.1:0.5:5")};
  }
  if (steps < 2 || steps > kMostBranches) {
    return SweepValues{{}, QObject::tr("steps are 2 to %1").arg(kMostBranches)};
  }
  if (log && (from <= 0 || to <= 0)) {
    return SweepValues{{}, QObject::tr("equal ratios need ends above 0")};
  }
  SweepValues range;
  for (int i = 0; i < steps; ++i) {
    const double t = static_cast<double>(i) / (steps - 1);
    const double exact = log ? from * std::pow(to / from, t) : from + (to - from) * t;
    // Twelve digits: 0.3, not 0.30000000000000004.
    const double value = QString::number(exact, 'g', log ? 4 : 12).toDouble();
    if (parameter.kind == ParameterKind::integer) {
      range.values.push_back(static_cast<std::int64_t>(std::llround(value)));
    } else {
      range.values.push_back(value);
    }
  }
  return range;
}

SweepValues listOf(const ParameterDeclaration& parameter, const QString& text) {
  SweepValues list;
  const bool words =
      parameter.kind == ParameterKind::text || parameter.kind == ParameterKind::choice;
  if (words) {
    for (const QString& word : text.split(QChar(','))) {
      const std::string value = word.trimmed().toStdString();
      const bool null = parameter.nullable && value == "null";
      list.values.push_back(null ? Json() : Json(value));
    }
    return list;
  }
  list.values = Json::parse("[" + text.toStdString() + "]", nullptr, false);
  if (!list.values.is_array()) {
    list.fault = isNumber(parameter)
                     ? QObject::tr("write values with commas between them, or from:to:steps")
                     : QObject::tr("write JSON values with commas between them");
  }
  return list;
}

QString faultOfValues(const ParameterDeclaration& parameter, const Json& values) {
  if (values.size() < 2) return QObject::tr("a sweep needs at least two values");
  if (values.size() > kMostBranches) return QObject::tr("at most %1 values").arg(kMostBranches);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool null = parameter.nullable && values[i].is_null();
    if (const auto fault = null ? std::nullopt : fault_of(parameter, values[i])) {
      return QString::fromStdString(*fault);
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (values[k] != values[i]) continue;
      return QObject::tr("%1 stands there twice").arg(QString::fromStdString(values[i].dump()));
    }
  }
  return {};
}

bool uses(const GraphNode& node, const std::string& name) {
  Json known = Json::object();
  known[name] = 0;
  std::vector<std::string> used;
  substitute(node.params, known, nullptr, &used);
  return !used.empty();
}

std::string freeKey(const Json& object, const std::string& base) {
  std::string name = base;
  for (int i = 2; object.contains(name); ++i) name = fmt::format("{}_{}", base, i);
  return name;
}

// ---- from a subgraph's parameter out to one of the graph ----

/// Calls `visit` with each object that gives values to the parameters of `subgraph` in a node that
/// runs it.
void forEachGiving(GraphNode& node, const std::string& subgraph, const Catalogue& catalogue,
                   const std::function<void(Json&)>& visit) {
  if (node.subgraph() == subgraph) return visit(node.params);
  const NodeDeclaration* type = catalogue.node(node.type);
  if (!type) return;
  const auto visitWith = [&](Json& holder) {
    Json& with = holder["with"];
    if (!with.is_object()) with = Json::object();
    visit(with);
  };
  for (const BodyDeclaration& body : type->bodies) {
    // Giving adds members, which moves the others: nothing found before is used after it.
    const Json named = node.params.value(body.parameter, Json());
    if (named == subgraph) visitWith(node.params);
    if (!named.is_array()) continue;
    for (Json& entry : node.params[body.parameter]) {
      if (entry == subgraph) {
        entry = Json::object();
        entry["body"] = subgraph;
      }
      if (entry.is_object() && entry.value("body", Json()) == subgraph) visitWith(entry);
    }
  }
}

bool runsIt(const GraphNode& node, const std::string& subgraph, const Catalogue& catalogue) {
  const auto bodies = bodiesOf(node, catalogue);
  return std::find(bodies.begin(), bodies.end(), subgraph) != bodies.end();
}

void refuseSwept(const GraphNode& node, const std::string& subgraph, const std::string& name,
                 const Catalogue& catalogue) {
  const NodeDeclaration* type = catalogue.node(node.type);
  if (!type || node.subgraph()) return;
  for (const BodyDeclaration& body : type->bodies) {
    if (body.vary.empty() || node.params.value(body.parameter, Json()) != subgraph) continue;
    if (node.params.value(body.vary, Json()) != name) continue;
    throw Failure("swept-already",
                  fmt::format("{} sweeps {} of {} already", node.name, name, subgraph),
                  fmt::format("change {} of {}", body.values, node.name));
  }
}

/// Leads a subgraph's parameter out through all that run the subgraph, up to the graph.
class LeadOut {
 public:
  LeadOut(Document& document, const Catalogue& catalogue)
      : document_(document), catalogue_(catalogue) {}

  /// The graph's parameter in the end; empty where nothing runs the subgraph.
  std::string from(const Scope& scope, const std::string& name) {
    lead(scope, name, document_.subgraph(scope)->parameters[name], 0);
    return graphName_;
  }

 private:
  void lead(const Scope& scope, const std::string& name, const Json& value, int depth) {
    if (depth > kDeepest || !seen_.insert({scope, name}).second) return;
    std::vector<Scope> around{{}};
    for (const Subgraph& subgraph : document_.subgraphs) around.push_back(subgraph.name);
    for (const Scope& outer : around) leadThrough(scope, name, value, outer, depth);
  }

  void leadThrough(const Scope& scope, const std::string& name, const Json& value,
                   const Scope& outer, int depth) {
    std::string passed = outer.empty() ? graphName_ : std::string();
    Json fallback = value;
    for (GraphNode& node : nodesOf(document_, outer)) {
      if (!runsIt(node, scope, catalogue_)) continue;
      refuseSwept(node, scope, name, catalogue_);
      forEachGiving(node, scope, catalogue_, [&](Json& giving) {
        const Json given = giving.value(name, Json());
        if (given.is_string() && passed.empty()) {
          const std::string text = given.get<std::string>();
          if (const auto known = parameter_name(text)) passed = std::string(*known);
        } else if (!given.is_null()) {
          fallback = given;
        }
        if (passed.empty()) passed = freeKey(parameters(outer), name);
        giving[name] = "$" + passed;
      });
    }
    if (passed.empty()) return;
    if (!parameters(outer).contains(passed)) parameters(outer)[passed] = fallback;
    if (outer.empty()) {
      graphName_ = passed;
    } else {
      lead(outer, passed, Json(parameters(outer)[passed]), depth + 1);
    }
  }

  Json& parameters(const Scope& scope) {
    return scope.empty() ? document_.parameters : document_.subgraph(scope)->parameters;
  }

  Document& document_;
  const Catalogue& catalogue_;
  std::set<std::pair<Scope, std::string>> seen_;
  std::string graphName_;
};

// ---- what a branch must have of its own ----

/// Whether the node, or what it runs, changes the state that arrives at its input `port`.
bool writes(const Document& document, const GraphNode& node, const std::string& port,
            const Catalogue& catalogue, int depth) {
  const NodeDeclaration* type = catalogue.node(node.type);
  const PortDeclaration* own = type ? type->input(port) : nullptr;
  if (own && own->access == Access::write) return true;
  if (depth > kDeepest) return false;
  for (const std::string& body : bodiesOf(node, catalogue)) {
    for (const Wire& wire : wiresOf(document, body)) {
      if (wire.from != Reference{kInputsNode, port}) continue;
      const GraphNode* reader = findNode(document, body, wire.node);
      if (reader && writes(document, *reader, wire.port, catalogue, depth + 1)) return true;
    }
  }
  return false;
}

class Branch {
 public:
  Branch(const Document& document, const Catalogue& catalogue)
      : document_(document), catalogue_(catalogue), wires_(wiresOf(document, {})) {}

  /// All that depends on what uses "$name", in the order of the file.
  std::vector<std::string> of(const std::string& name) {
    for (const GraphNode& node : document_.nodes) {
      if (uses(node, name)) add(node.name);
    }
    while (!open_.empty()) {
      const std::string node = open_.back();
      open_.pop_back();
      for (const Wire& wire : wires_) {
        if (wire.from.node == node) add(wire.node);
        if (wire.node == node) addState(wire);
      }
    }
    std::vector<std::string> list;
    for (const GraphNode& node : document_.nodes) {
      if (inside_.contains(node.name)) list.push_back(node.name);
    }
    return list;
  }

 private:
  void add(const std::string& node) {
    if (findNode(document_, {}, node) && inside_.insert(node).second) open_.push_back(node);
  }

  void addState(const Wire& wire) {
    const GraphNode* reader = findNode(document_, {}, wire.node);
    const std::string type = typeOf(wire.from);
    if (!reader || !writes(document_, *reader, wire.port, catalogue_, 0)) return;
    addMakers(wire.from.node, type, 0);
  }

  /// The node and those that the state of this type may have come through.
  void addMakers(const std::string& node, const std::string& type, int depth) {
    add(node);
    if (depth > static_cast<int>(document_.nodes.size())) return;
    for (const Wire& wire : wires_) {
      if (wire.node == node && typeOf(wire.from) == type) {
        addMakers(wire.from.node, type, depth + 1);
      }
    }
  }

  std::string typeOf(const Reference& output) const {
    const GraphNode* node = findNode(document_, {}, output.node);
    if (!node) return {};
    for (const ShownPort& port : portsOf(document_, {}, *node, catalogue_).outputs) {
      if (port.name == output.port) return port.type;
    }
    return {};
  }

  const Document& document_;
  const Catalogue& catalogue_;
  std::vector<Wire> wires_;
  std::set<std::string> inside_;
  std::vector<std::string> open_;
};

/// What the sweep gathers: every Metrics output of the body's nodes.
void giveMetrics(Document& document, const std::string& body, const Catalogue& catalogue) {
  std::set<std::string> taken{"all_metrics", "table"};
  std::vector<std::pair<std::string, Reference>> outputs;
  for (const GraphNode& node : document.subgraph(body)->nodes) {
    if (node.mode != NodeMode::normal) continue;
    for (const ShownPort& port : portsOf(document, body, node, catalogue).outputs) {
      if (port.type != "Metrics") continue;
      const std::string base = port.name == "metrics" ? node.name : node.name + "_" + port.name;
      std::string name = base;
      for (int i = 2; !taken.insert(name).second; ++i) name = fmt::format("{}_{}", base, i);
      outputs.emplace_back(name, Reference{node.name, port.name});
    }
  }
  document.subgraph(body)->outputs = std::move(outputs);
}

}  // namespace

SweepValues parseSweepValues(const ParameterDeclaration& parameter, const QString& text) {
  if (text.trimmed().isEmpty()) return {Json::array(), QObject::tr("no values yet")};
  SweepValues parsed = rangeOf(parameter, text).value_or(SweepValues());
  if (parsed.fault.isEmpty() && parsed.values.empty()) parsed = listOf(parameter, text);
  if (parsed.fault.isEmpty()) parsed.fault = faultOfValues(parameter, parsed.values);
  if (!parsed.fault.isEmpty()) parsed.values = Json::array();
  return parsed;
}

std::string sweepGraphParameter(Document& document, const std::string& name, const Json& values,
                                const Catalogue& catalogue) {
  const std::vector<std::string> inside = Branch(document, catalogue).of(name);
  if (inside.empty()) {
    throw Failure("nothing-to-sweep", fmt::format("no node of the graph uses ${}", name),
                  "give it to a node first");
  }
  const bool placed = std::any_of(inside.begin(), inside.end(), [&](const std::string& node) {
    return position(document, {}, node).has_value();
  });
  const std::string call = makeSubgraph(document, {}, inside, "branch", catalogue);
  const std::string body(*findNode(std::as_const(document), {}, call)->subgraph());
  const std::string sweep = freeName(document, {}, "sweep");
  renameNode(document, {}, call, sweep);
  if (!placed) forgetPosition(document, {}, sweep);
  giveMetrics(document, body, catalogue);
  GraphNode& node = *findNode(document, {}, sweep);
  Json with = node.params;
  with.erase(name);
  node.type = "flow.sweep";
  node.params = Json::object();
  node.params["body"] = body;
  node.params["vary"] = name;
  node.params["values"] = values;
  if (!with.empty()) node.params["with"] = with;
  const bool shared = std::any_of(document.nodes.begin(), document.nodes.end(),
                                  [&](const GraphNode& other) { return uses(other, name); });
  if (!shared) document.parameters.erase(name);
  return sweep;
}

std::string sweepParameter(Document& document, const Scope& scope, const std::string& node,
                           const std::string& parameter, const Json& current, const Json& values,
                           const Catalogue& catalogue) {
  const auto known =
      current.is_string() ? parameter_name(current.get_ref<const std::string&>()) : std::nullopt;
  std::string name(known.value_or(std::string_view()));
  if (!known) {
    const Json value = current.is_null() ? values.front() : current;
    name = makeGraphParameter(document, scope, node, parameter, value);
  }
  if (!scope.empty()) name = LeadOut(document, catalogue).from(scope, name);
  if (name.empty()) {
    throw Failure("nothing-to-sweep", fmt::format("no node runs the subgraph {}", scope),
                  "use the subgraph first");
  }
  return sweepGraphParameter(document, name, values, catalogue);
}

}  // namespace rewardloom
