#include "editor/rewards/component_stack.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>
#include <limits>

#include "editor/rewards/quantile_fan.h"

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
    : RewardView(theme, tr("Parts of the reward"), parent) {}

void ComponentStack::setParts(RewardParts parts) {
  parts_ = std::move(parts);
  changed();
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
      {theme().text,
       tr("total  %1").arg(parts_.total[at], 0, 'g', 4) +
           (parts_.reason.isEmpty() ? QString() : QStringLiteral("  (%1)").arg(parts_.reason)),
       Qt::SolidLine});
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

PlotAxes ComponentStack::axes(double legendHeight) const {
  PlotAxes axes;
  axes.area = QRectF(rect()).adjusted(kLeftMargin, 8 + std::min(legendHeight, height() / 2.0), -10,
                                      -kBottomMargin);
  axes.x = {static_cast<double>(parts_.iterations.front()),
            static_cast<double>(parts_.iterations.back())};
  if (axes.x.span() <= 0) axes.x = {axes.x.low - 0.5, axes.x.low + 0.5};
  AxisRange y = AxisRange::none();
  if (parts_.additive) y.hold(0);
  for (std::size_t i = 0; i < parts_.iterations.size(); ++i) {
    y.hold(parts_.total[i]);
    double above = 0, below = 0;
    for (const RewardPart& part : parts_.parts) {
      if (!parts_.additive) y.hold(part.means[i]);
      if (std::isfinite(part.means[i])) (part.means[i] > 0 ? above : below) += part.means[i];
    }
    if (!parts_.additive) continue;
    y.hold(above);
    y.hold(below);
  }
  axes.y = y.padded();
  return axes;
}

void ComponentStack::drawStack(QPainter& painter, const PlotAxes& axes) const {
  const std::size_t count = parts_.iterations.size();
  std::vector<double> above, below, places;
  eachPixelRange(count, axes.area.width(), [&](std::size_t from, std::size_t to) {
    places.push_back(
        axes.sx(static_cast<double>(parts_.iterations[from] + parts_.iterations[to - 1]) / 2));
  });
  above.assign(places.size(), 0);
  below.assign(places.size(), 0);
  for (std::size_t k = 0; k < parts_.parts.size(); ++k) {
    QPolygonF outer, inner;
    std::size_t column = 0;
    eachPixelRange(count, axes.area.width(), [&](std::size_t from, std::size_t to) {
      double sum = 0;
      for (std::size_t i = from; i < to; ++i) {
        if (std::isfinite(parts_.parts[k].means[i])) sum += parts_.parts[k].means[i];
      }
      const double value = sum / static_cast<double>(to - from);
      double& base = value >= 0 ? above[column] : below[column];
      inner << QPointF(places[column], axes.sy(base));
      base += value;
      outer << QPointF(places[column], axes.sy(base));
      ++column;
    });
    // One iteration alone is a bar.
    if (outer.size() == 1) {
      outer = {outer[0] - QPointF(20, 0), outer[0] + QPointF(20, 0)};
      inner = {inner[0] - QPointF(20, 0), inner[0] + QPointF(20, 0)};
    }
    QPolygonF area = outer;
    for (auto it = inner.crbegin(); it != inner.crend(); ++it) area << *it;
    QColor fill = seriesColor(k, theme());
    fill.setAlpha(190);
    painter.setPen(Qt::NoPen);
    painter.setBrush(fill);
    painter.drawPolygon(area);
  }
}

void ComponentStack::drawLines(QPainter& painter, const PlotAxes& axes) const {
  for (std::size_t k = 0; k < parts_.parts.size(); ++k) {
    QPolygonF line;
    for (std::size_t i = 0; i < parts_.iterations.size(); ++i) {
      if (!std::isfinite(parts_.parts[k].means[i])) continue;
      line << QPointF(axes.sx(static_cast<double>(parts_.iterations[i])),
                      axes.sy(parts_.parts[k].means[i]));
    }
    painter.setPen(QPen(seriesColor(k, theme()), 1.6));
    painter.drawPolyline(line);
  }
}

void ComponentStack::drawPicture(QPainter& painter) const {
  if (parts_.iterations.empty()) return drawNotice(painter, tr("nothing recorded yet"));
  if (parts_.parts.empty()) {
    return drawNotice(painter, tr("this value has no recorded parts: reward.combine gives them"));
  }
  const double room = width() - kLeftMargin - 10;
  const std::vector<LegendEntry> entries = fittingLegend(painter, legend(), room, height());
  const PlotAxes frame = axes(legendHeight(painter, entries, room));
  paintAxes(painter, frame, theme(), tr("iteration"));
  painter.setClipRect(frame.area);
  painter.setRenderHint(QPainter::Antialiasing);
  if (parts_.additive) {
    drawStack(painter, frame);
  } else {
    drawLines(painter, frame);
  }
  QPolygonF total;
  eachPixelRange(parts_.total.size(), frame.area.width(), [&](std::size_t from, std::size_t to) {
    double sum = 0;
    for (std::size_t i = from; i < to; ++i) sum += parts_.total[i];
    total << QPointF(
        frame.sx(static_cast<double>(parts_.iterations[from] + parts_.iterations[to - 1]) / 2),
        frame.sy(sum / static_cast<double>(to - from)));
  });
  painter.setBrush(Qt::NoBrush);
  painter.setPen(QPen(theme().canvas, 4));
  painter.drawPolyline(total);
  painter.setPen(QPen(theme().text, 2));
  painter.drawPolyline(total);
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipping(false);
  paintLegend(painter, entries, {kLeftMargin, 4}, room, theme());
}

void ComponentStack::drawCursor(QPainter& painter) const {
  const double room = width() - kLeftMargin - 10;
  if (parts_.parts.empty() || parts_.iterations.empty() || !cursorIteration()) return;
  const PlotAxes frame =
      axes(legendHeight(painter, fittingLegend(painter, legend(), room, height()), room));
  paintCursorLine(painter, frame, *cursorIteration(), theme());
}

void ComponentStack::mouseMoveEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (parts_.iterations.empty()) return;
  if (iterationUnder(axes(0), event->position().x(), iteration)) {
    Q_EMIT iterationHovered(iteration);
  }
}

void ComponentStack::mouseReleaseEvent(QMouseEvent* event) {
  std::int64_t iteration = 0;
  if (parts_.iterations.empty()) return;
  if (iterationUnder(axes(0), event->position().x(), iteration)) Q_EMIT iterationChosen(iteration);
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
