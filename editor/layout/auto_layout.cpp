#include "editor/layout/auto_layout.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace rewardloom {
namespace {

constexpr double kInch = 72;
constexpr double kGrid = 20;

/// How many parts no wire joins.
std::size_t countParts(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires) {
  std::map<std::string, std::string> parent;
  for (const LayoutNode& node : nodes) parent[node.name] = node.name;
  const auto root = [&](std::string name) {
    while (parent[name] != name) name = parent[name] = parent[parent[name]];
    return name;
  };
  std::size_t count = nodes.size();
  for (const Wire& wire : wires) {
    if (!parent.contains(wire.from.node) || !parent.contains(wire.node)) continue;
    const std::string a = root(wire.from.node), b = root(wire.node);
    if (a == b) continue;
    parent[a] = b;
    --count;
  }
  return count;
}

}  // namespace

QByteArray layoutInput(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires,
                       const std::vector<std::vector<std::string>>& frames) {
  QByteArray text =
      "digraph g { rankdir=LR; splines=true; nodesep=0.55; ranksep=1.1; "
      "node [shape=box, fixedsize=true, label=\"\"];\n";
  const std::size_t parts = countParts(nodes, wires);
  if (parts > 3) {
    // In rows and columns, or they would stand in one tall column. The graph is turned: what
    // Graphviz takes for columns are rows.
    text += QStringLiteral("pack=40; packmode=\"array_i%1\";\n")
                .arg(std::ceil(std::sqrt(static_cast<double>(parts) / 0.6)))
                .toUtf8();
  }
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    index[nodes[i].name] = i;
    text += QStringLiteral("n%1 [width=%2, height=%3];\n")
                .arg(i)
                .arg(nodes[i].size.width() / kInch)
                .arg(nodes[i].size.height() / kInch)
                .toUtf8();
    // A subgraph's own ports stand at its ends, wired or not.
    if (nodes[i].name == "inputs") text += QStringLiteral("{rank=source; n%1}\n").arg(i).toUtf8();
    if (nodes[i].name == "outputs") text += QStringLiteral("{rank=sink; n%1}\n").arg(i).toUtf8();
  }
  std::set<std::string> framed;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    // The label's height is the place of the frame's title.
    text += QStringLiteral("subgraph cluster_%1 { margin=26; label=\"t\"; fontsize=22; ")
                .arg(i)
                .toUtf8();
    for (const std::string& name : frames[i]) {
      const auto node = index.find(name);
      if (node == index.end() || !framed.insert(name).second) continue;
      text += QStringLiteral("n%1; ").arg(node->second).toUtf8();
    }
    text += "}\n";
  }
  for (const Wire& wire : wires) {
    const auto from = index.find(wire.from.node);
    const auto to = index.find(wire.node);
    if (from == index.end() || to == index.end()) continue;
    text += QStringLiteral("n%1 -> n%2;\n").arg(from->second).arg(to->second).toUtf8();
  }
  return text + "}\n";
}

std::map<std::string, QPointF> layoutPlaces(const QByteArray& plain,
                                            const std::vector<LayoutNode>& nodes,
                                            AutoLayout::Ways* ways) {
  const auto nodeOf = [&](const QByteArray& word) -> const LayoutNode* {
    const auto i = word.mid(1).toULongLong();
    return word.startsWith('n') && i < nodes.size() ? &nodes[i] : nullptr;
  };
  std::map<std::string, QPointF> places;
  double height = 0;
  QPointF corner(1e12, 1e12);
  for (const QByteArray& line : plain.split('\n')) {
    const QList<QByteArray> words = line.split(' ');
    if (words.size() >= 4 && words[0] == "graph") height = words[3].toDouble() * kInch;
    if (ways && words.size() > 6 && words[0] == "edge") {
      const LayoutNode* from = nodeOf(words[1]);
      const LayoutNode* to = nodeOf(words[2]);
      const int count = words[3].toInt();
      if (!from || !to || words.size() < 4 + 2 * count) continue;
      auto& way = (*ways)[{from->name, to->name}];
      for (int k = 0; k < count; ++k) {
        way.emplace_back(words[4 + 2 * k].toDouble() * kInch,
                         height - words[5 + 2 * k].toDouble() * kInch);
      }
      continue;
    }
    if (words.size() < 6 || words[0] != "node" || !words[1].startsWith('n')) continue;
    const auto i = words[1].mid(1).toULongLong();
    if (i >= nodes.size()) continue;
    const QSizeF size = nodes[i].size;
    const QPointF center(words[2].toDouble() * kInch, height - words[3].toDouble() * kInch);
    const QPointF at = center - QPointF(size.width() / 2, size.height() / 2);
    places[nodes[i].name] = at;
    corner = {std::min(corner.x(), at.x()), std::min(corner.y(), at.y())};
  }
  for (auto& [name, at] : places) at -= corner;
  if (!ways) return places;
  for (auto& [ends, way] : *ways) {
    for (QPointF& point : way) point -= corner;
  }
  return places;
}

AutoLayout::AutoLayout(QObject* parent) : QObject(parent) {
  connect(&process_, &QProcess::finished, this, &AutoLayout::read);
  connect(&process_, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error == QProcess::FailedToStart) {
      Q_EMIT failed(tr("the program dot is missing: install graphviz"));
    }
  });
}

AutoLayout::~AutoLayout() {
  process_.disconnect(this);
  process_.kill();
  process_.waitForFinished(1000);
}

void AutoLayout::start(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires,
                       const std::vector<std::vector<std::string>>& frames) {
  if (isActive()) {
    cancel();
    process_.waitForFinished(1000);
  }
  cancelled_ = false;
  nodes_ = nodes;
  corner_ = nodes.empty() ? QPointF() : QPointF(1e12, 1e12);
  for (const LayoutNode& node : nodes) {
    corner_ = {std::min(corner_.x(), node.at.x()), std::min(corner_.y(), node.at.y())};
  }
  process_.start(QStringLiteral("dot"), {QStringLiteral("-Tplain")});
  process_.write(layoutInput(nodes, wires, frames));
  process_.closeWriteChannel();
}

void AutoLayout::cancel() {
  cancelled_ = true;
  process_.kill();
}

void AutoLayout::read() {
  if (cancelled_) return;
  if (process_.exitStatus() != QProcess::NormalExit || process_.exitCode() != 0) {
    Q_EMIT failed(tr("dot failed: %1").arg(QString::fromUtf8(process_.readAllStandardError())));
    return;
  }
  ways_.clear();
  auto places = layoutPlaces(process_.readAllStandardOutput(), nodes_, &ways_);
  for (auto& [ends, way] : ways_) {
    for (QPointF& point : way) point += corner_;
  }
  for (auto& [name, at] : places) {
    at += corner_;
    at = {std::round(at.x() / kGrid) * kGrid, std::round(at.y() / kGrid) * kGrid};
  }
  Q_EMIT done(places);
}

}  // namespace rewardloom
