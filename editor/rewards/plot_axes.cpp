#include "editor/rewards/plot_axes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace rewardloom {

AxisRange AxisRange::none() {
  return {std::numeric_limits<double>::max(), std::numeric_limits<double>::lowest()};
}

void AxisRange::hold(double value) {
  if (!std::isfinite(value)) return;
  low = std::min(low, value);
  high = std::max(high, value);
}

AxisRange AxisRange::padded(double share) const {
  if (empty()) return {0, 1};
  const double air = high > low ? span() * share : std::max(0.5, std::abs(high) * 0.1);
  return {low - air, high + air};
}

std::vector<double> axisTicks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!(high > low) || count < 1) return ticks;
  const double raw = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = power * factor;
    if (step >= raw) break;
  }
  for (double tick = std::ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push_back(std::abs(tick) < step * 1e-9 ? 0 : tick);
  }
  // One tick alone gives no scale.
  constexpr int most = 16;
  return ticks.size() < 2 && count < most ? axisTicks(low, high, count + 2) : ticks;
}

QString tickText(double tick, double step) {
  const double size = std::max(std::abs(tick), step);
  if (size >= 1e6 || (step > 0 && step < 1e-4)) return QString::number(tick, 'g', 3);
  const int digits = step >= 1 ? 0 : static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  return QString::number(tick, 'f', digits);
}

QColor seriesColor(std::size_t index, const Theme& theme) {
  static constexpr std::array<QRgb, 7> colors = {0xffe69f00, 0xff56b4e9, 0xff009e73, 0xffcc79a7,
                                                 0xffd55e00, 0xff3d87c9, 0xfff0e442};
  const QColor color(colors[index % colors.size()]);
  return theme.dark ? color : color.darker(135);
}

}  // namespace rewardloom
