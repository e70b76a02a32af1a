#include "editor/layout/auto_layout.h"

#include <algorithm>
#include <cmath>

namespace rewardloom {
namespace {

constexpr double kInch = 72;
constexpr double kGrid = 20;

}  // namespace

QByteArray layoutInput(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires) {
  QByteArray text =
      "digraph g { rankdir=LR; splines=false; nodesep=0.55; ranksep=1.1; "
      "node [shape=box, fixedsize=true, label=\"\"];\n";
  std::map<std::string, std::size_t> index;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    index[nodes[i].name] = i;
    text += QStringLiteral("n%1 [width=%2, height=%3];\n")
                .arg(i)
                .arg(nodes[i].size.width() / kInch)
                .arg(nodes[i].size.height() / kInch)
                .toUtf8();
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
                                            const std::vector<LayoutNode>& nodes) {
  std::map<std::string, QPointF> places;
  double height = 0;
  QPointF corner(1e12, 1e12);
  for (const QByteArray& line : plain.split('\n')) {
    const QList<QByteArray> words = line.split(' ');
    if (words.size() >= 4 && words[0] == "graph") height = words[3].toDouble() * kInch;
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

void AutoLayout::start(const std::vector<LayoutNode>& nodes, const std::vector<Wire>& wires) {
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
  process_.write(layoutInput(nodes, wires));
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
  auto places = layoutPlaces(process_.readAllStandardOutput(), nodes_);
  for (auto& [name, at] : places) {
    at += corner_;
    at = {std::round(at.x() / kGrid) * kGrid, std::round(at.y() / kGrid) * kGrid};
  }
  Q_EMIT done(places);
}

}  // namespace rewardloom
