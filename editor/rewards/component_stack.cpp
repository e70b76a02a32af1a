#include "editor/rewards/component_stack.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/custom_plot.h"

namespace rewardloom {
namespace {

constexpr double kTolerance = 1e-3;

/// Weights of reward.combine; empty where the node does not add weighted parts.
std::vector<double> weightsOf(const GraphNode* node, std::size_t count, QString& reason) {
  std::vector<double> weights(count, 1.0);
  if (!node || node->type != "reward.combine") return weights;
  const std::string op = node->params.value("op", "sum");
  if (op != "sum" && op != "mean") {
    reason = QStringLiteral("the total is the %1 of its parts").arg(QString::fromStdString(op));
    return {};
  }
  const auto given = node->params.find("weights");
  if (given != node->params.end() && given->is_array() && given->size() == count) {
    for (std::size_t i = 0; i < count; ++i) {
      if ((*given)[i].is_number()) weights[i] = (*given)[i].get<double>();
    }
  }
  if (op == "mean") {
    for (double& weight : weights) weight /= static_cast<double>(count);
  }
  return weights;
}

QString lastName(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  return QString::fromStdString(slash == std::string::npos ? name : name.substr(slash + 1));
}

/// Names that only differ before the last slash are told apart by all of them.
QStringList partNames(
    const std::vector<std::pair<std::string, std::vector<HistogramRow>>>& columns) {
  QStringList names;
  for (const auto& [name, rows] : columns) names << lastName(name);
  QStringList unique = names;
  unique.removeDuplicates();
  if (unique.size() == names.size()) return names;
  names.clear();
  for (const auto& [name, rows] : columns) names << QString::fromStdString(name);
  return names;
}

}  // namespace

RewardParts rewardParts(
    const std::vector<HistogramRow>& total,
    const std::vector<std::pair<std::string, std::vector<HistogramRow>>>& columns,
    const GraphNode* node) {
  RewardParts result;
  for (const HistogramRow& row : total) {
    if (row.distribution.count == 0) continue;
    result.iterations.push_back(row.iteration);
    result.total.push_back(row.distribution.mean);
  }
  const std::vector<double> weights = weightsOf(node, columns.size(), result.reason);
  const QStringList names = partNames(columns);
  for (std::size_t k = 0; k < columns.size(); ++k) {
    RewardPart part;
    part.name = names[static_cast<qsizetype>(k)];
    part.weight = weights.empty() ? 1 : weights[k];
    part.means.assign(result.iterations.size(), std::numeric_limits<double>::quiet_NaN());
    std::size_t at = 0;
    for (const HistogramRow& row : columns[k].second) {
      while (at < result.iterations.size() && result.iterations[at] < row.iteration) ++at;
      if (at == result.iterations.size()) break;
      if (result.iterations[at] != row.iteration) continue;
      part.means[at] = row.distribution.mean * part.weight;
    }
    result.parts.push_back(std::move(part));
  }
  if (weights.empty() || columns.empty()) return result;
  result.additive = true;
  for (std::size_t i = 0; i < result.iterations.size() && result.additive; ++i) {
    double sum = 0;
    double size = std::abs(result.total[i]);
    for (const RewardPart& part : result.parts) {
      sum += part.means[i];
      size += std::abs(part.means[i]);
    }
    result.additive = std::abs(sum - result.total[i]) <= kTolerance * std::max(size, 1e-6);
  }
  if (!result.additive) result.reason = QStringLiteral("the parts do not add up to the total");
  return result;
}

ComponentStack::ComponentStack(const Theme& theme, QWidget* parent)
    : CurveView(theme, tr("Parts of the reward"), parent), halo_(addGraph()), total_(addGraph()) {
  plot().addLayer(QStringLiteral("total"), plot().layer(QStringLiteral("main")));
  halo_->setLayer(QStringLiteral("total"));
  total_->setLayer(QStringLiteral("total"));
}

void ComponentStack::setParts(RewardParts parts) {
  parts_ = std::move(parts);
  for (; layers_.size() > parts_.parts.size(); layers_.pop_back()) {
    plot().removeGraph(layers_.back().outer);
    plot().removeGraph(layers_.back().inner);
  }
  while (layers_.size() < parts_.parts.size()) layers_.push_back({addGraph(), addGraph()});
  for (const Layer& layer : layers_) {
    layer.outer->setChannelFillGraph(parts_.additive ? layer.inner : nullptr);
    layer.inner->setPen(Qt::NoPen);
  }
  dress();
  changed();
}

QString ComponentStack::notice() const {
  if (parts_.iterations.empty()) return tr("nothing recorded yet");
  return parts_.parts.empty() ? tr("this value has no recorded parts: reward.combine gives them")
                              : QString();
}

AxisRange ComponentStack::across() const {
  if (parts_.iterations.empty()) return {0, 1};
  const AxisRange range{static_cast<double>(parts_.iterations.front()),
                        static_cast<double>(parts_.iterations.back())};
  return range.span() > 0 ? range : AxisRange{range.low - 0.5, range.low + 0.5};
}

std::size_t ComponentStack::shownIndex() const {
  const auto& list = parts_.iterations;
  if (!cursorIteration()) return list.size() - 1;
  const auto after = std::upper_bound(list.begin(), list.end(), *cursorIteration());
  return after == list.begin() ? 0 : static_cast<std::size_t>(after - list.begin()) - 1;
}

std::vector<LegendEntry> ComponentStack::legend() const {
  const std::size_t at = shownIndex();
  double size = 0;
  for (const RewardPart& part : parts_.parts) size += std::abs(part.means[at]);
  std::vector<LegendEntry> entries;
  entries.push_back(
      {theme().text, tr("total  %1").arg(parts_.total[at], 0, 'g', 4), Qt::SolidLine});
  for (std::size_t k = 0; k < parts_.parts.size(); ++k) {
    const RewardPart& part = parts_.parts[k];
    QString text = QStringLiteral("%1  %2").arg(part.name).arg(part.means[at], 0, 'g', 4);
    if (part.weight != 1) text += tr(" (weight %1)").arg(part.weight, 0, 'g', 3);
    if (parts_.additive && size > 0) {
      text += QStringLiteral("  %1 %").arg(100 * std::abs(part.means[at]) / size, 0, 'f', 0);
    }
    entries.push_back({seriesColor(k, theme()), text, Qt::SolidLine});
  }
  return entries;
}

void ComponentStack::dress() {
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    QColor color = seriesColor(k, theme());
    layers_[k].outer->setPen(parts_.additive ? QPen(Qt::NoPen) : QPen(color, 1.6));
    color.setAlpha(190);
    layers_[k].outer->setBrush(parts_.additive ? QBrush(color) : QBrush());
  }
  halo_->setPen(QPen(theme().canvas, 4));
  total_->setPen(QPen(theme().text, 2));
}

double ComponentStack::meanOf(const std::vector<double>& values, std::size_t from,
                              std::size_t to) const {
  double sum = 0;
  for (std::size_t i = from; i < to; ++i) {
    if (std::isfinite(values[i])) sum += values[i];
  }
  return sum / static_cast<double>(to - from);
}

double ComponentStack::middle(std::size_t from, std::size_t to) const {
  return static_cast<double>(parts_.iterations[from] + parts_.iterations[to - 1]) / 2;
}

void ComponentStack::fillStack(IndexRange rows, int pixels) {
  std::vector<double> above, below;
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    QVector<QCPGraphData> outer, inner;
    std::size_t column = 0;
    eachPixelRange(rows, pixels, [&](std::size_t from, std::size_t to) {
      above.resize(std::max(above.size(), column + 1));
      below.resize(above.size());
      const double value = meanOf(parts_.parts[k].means, from, to);
      double& base = value >= 0 ? above[column] : below[column];
      inner.append({middle(from, to), base});
      base += value;
      outer.append({middle(from, to), base});
      ++column;
    });
    // One iteration alone is a bar.
    if (outer.size() == 1) {
      constexpr double half = 0.2;
      outer = {{outer[0].key - half, outer[0].value}, {outer[0].key + half, outer[0].value}};
      inner = {{inner[0].key - half, inner[0].value}, {inner[0].key + half, inner[0].value}};
    }
    layers_[k].outer->data()->set(outer, true);
    layers_[k].inner->data()->set(inner, true);
  }
}

void ComponentStack::fillLines(IndexRange rows, int pixels) {
  for (std::size_t k = 0; k < layers_.size(); ++k) {
    const std::vector<double>& means = parts_.parts[k].means;
    QVector<QCPGraphData> line;
    eachPixelRange(rows, pixels, [&](std::size_t from, std::size_t to) {
      double sum = 0;
      int known = 0;
      for (std::size_t i = from; i < to; ++i) {
        if (!std::isfinite(means[i])) continue;
        sum += means[i];
        ++known;
      }
      if (known > 0) line.append({middle(from, to), sum / known});
    });
    layers_[k].outer->data()->set(line, true);
    layers_[k].inner->data()->clear();
  }
}

void ComponentStack::fill(const AxisRange& seen, int pixels) {
  const auto placeOf = [](std::int64_t iteration) { return static_cast<double>(iteration); };
  const IndexRange rows = seenRows(parts_.iterations, seen, placeOf);
  if (parts_.additive) {
    fillStack(rows, pixels);
  } else {
    fillLines(rows, pixels);
  }
  QVector<QCPGraphData> total;
  eachPixelRange(rows, pixels, [&](std::size_t from, std::size_t to) {
    total.append({middle(from, to), meanOf(parts_.total, from, to)});
  });
  halo_->data()->set(total, true);
  total_->data()->set(total, true);
  AxisRange upright = AxisRange::none();
  if (parts_.additive) upright.hold(0);
  for (const QCPGraphData& point : total) upright.hold(point.value);
  for (const Layer& layer : layers_) {
    for (const QCPGraphData& point : *layer.outer->data()) upright.hold(point.value);
  }
  upright = upright.padded();
  plot().yAxis->setRange(upright.low, upright.high);
}

void ComponentStack::writeCsv(QTextStream& out) const {
  out << "iteration,total";
  for (const RewardPart& part : parts_.parts) out << ',' << csvField(part.name);
  out << '\n';
  for (std::size_t i = 0; i < parts_.iterations.size(); ++i) {
    out << parts_.iterations[i] << ',' << csvNumber(parts_.total[i]);
    for (const RewardPart& part : parts_.parts) out << ',' << csvNumber(part.means[i]);
    out << '\n';
  }
}

}  // namespace rewardloom
