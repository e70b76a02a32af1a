#include "editor/canvas/body_preview.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "editor/document/subgraph_edits.h"

namespace rewardloom {
namespace {

constexpr std::size_t kMostBoxes = 60;

/// The longest way to each node from one that nothing feeds.
std::unordered_map<std::string, int> depthsOf(const std::vector<GraphNode>& nodes) {
  std::unordered_map<std::string, int> depth;
  for (const GraphNode& node : nodes) depth[node.name] = 0;
  // As many rounds as the longest way has nodes; a circle ends at the limit.
  for (std::size_t round = 0; round < nodes.size(); ++round) {
    bool moved = false;
    for (const GraphNode& node : nodes) {
      for (const InputEdges& input : node.inputs) {
        for (const Reference& from : input.from) {
          const auto source = depth.find(from.node);
          if (source == depth.end() || source->second < depth[node.name]) continue;
          depth[node.name] = source->second + 1;
          moved = true;
        }
      }
    }
    if (!moved) break;
  }
  return depth;
}

}  // namespace

std::vector<QRectF> nodeBoxes(const Subgraph& subgraph) {
  std::vector<GraphNode> nodes = subgraph.nodes;
  if (nodes.size() > kMostBoxes) nodes.resize(kMostBoxes);
  const auto depth = depthsOf(nodes);
  std::map<int, int> inColumn;
  for (const GraphNode& node : nodes) ++inColumn[depth.at(node.name)];
  const double columns = inColumn.empty() ? 1 : inColumn.rbegin()->first + 1;
  std::map<int, int> used;
  std::vector<QRectF> boxes;
  for (const GraphNode& node : nodes) {
    const int column = depth.at(node.name);
    const double rows = inColumn[column];
    const double width = 1 / columns, height = std::min(1 / rows, 0.5);
    const double top = (1 - height * rows) / 2 + used[column]++ * height;
    boxes.emplace_back(column * width + width * 0.15, top + height * 0.18, width * 0.7,
                       height * 0.64);
  }
  return boxes;
}

std::vector<BodyPreview> bodyPreviews(const Document& document, const GraphNode& node,
                                      const Catalogue& catalogue) {
  std::vector<BodyPreview> previews;
  for (const std::string& name : bodiesOf(node, catalogue)) {
    BodyPreview preview;
    preview.name = QString::fromStdString(name);
    const Subgraph* subgraph = document.subgraph(name);
    preview.exists = subgraph != nullptr;
    if (subgraph) preview.boxes = nodeBoxes(*subgraph);
    previews.push_back(std::move(preview));
  }
  return previews;
}

std::vector<PhaseSpan> phaseSpans(const std::vector<std::pair<std::int64_t, double>>& phases,
                                  std::size_t most) {
  std::vector<PhaseSpan> spans;
  if (phases.empty()) return spans;
  const auto first = static_cast<double>(phases.front().first);
  const double all = static_cast<double>(phases.back().first) + 1 - first;
  for (const auto& [iteration, value] : phases) {
    const double from = (static_cast<double>(iteration) - first) / all;
    const double to = (static_cast<double>(iteration) + 1 - first) / all;
    const int phase = static_cast<int>(value);
    if (!spans.empty() && spans.back().phase == phase) {
      spans.back().to = to;
    } else {
      spans.push_back({from, to, phase});
    }
  }
  if (spans.size() <= most) return spans;
  // The newest part alone: alternation is told by its rhythm.
  spans.erase(spans.begin(), spans.end() - static_cast<std::ptrdiff_t>(most));
  const double start = spans.front().from;
  for (PhaseSpan& span : spans) {
    span.from = (span.from - start) / (1 - start);
    span.to = (span.to - start) / (1 - start);
  }
  return spans;
}

}  // namespace rewardloom
