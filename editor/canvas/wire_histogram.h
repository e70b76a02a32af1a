// A few bars on a wire: what flowed through it last.
#pragma once
#include <QColor>
#include <QRectF>
#include <QString>
#include <array>
#include <map>
#include <string>

class QPainter;

namespace rewardloom {

struct WireHistogram {
  static constexpr std::size_t kBars = 12;
  std::array<float, kBars> bars{};  ///< heights, 0..1
  QString text;                     ///< for the tip
  bool operator==(const WireHistogram&) const = default;
};

/// By the node and port that the wires come from.
using WireHistograms = std::map<std::pair<std::string, std::string>, WireHistogram>;

/// The size it is drawn in, in the scene's units.
inline constexpr QSizeF kWireHistogramSize{40, 18};

void paintWireHistogram(QPainter& painter, const QRectF& box, const WireHistogram& histogram,
                        const QColor& bars, const QColor& paper);

}  // namespace rewardloom
