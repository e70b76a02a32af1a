// A reward that is trained on beside one that is only measured: which two of a run's series they
// are, and from where on the one rises while the other falls. Shared by the editor and the
// terminal; no window here.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rewardloom {

/// Names of series; an empty one means that there is none.
struct ProxyGoldNames {
  std::string proxy;
  std::string gold;
  std::string kl;
  int certainty = 0;  ///< how sure the names are to mean this; pairs are compared among equals
  bool operator==(const ProxyGoldNames&) const = default;
};

/// Whether a series of that name can be one of a pair, or the divergence beside it.
bool can_be_of_a_pair(const std::string& name);

/// Pairs that stand in one place of the graph, found by name: "…/gold" with "…/proxy", a metric of
/// a gold node, else accuracy on held-out tasks with the reward in training. The most certain
/// first. The divergence is that of the same place from the reference, never from the last step's
/// policy.
std::vector<ProxyGoldNames> proxy_gold_pairs(const std::vector<std::string>& names);

/// One point of a curve: an iteration and a value.
struct CurvePoint {
  std::int64_t iteration = 0;
  double value = 0;
};

/// Centred moving averages of `window` (odd) points, fewer at the ends; not-finite values are left
/// out.
std::vector<double> moving_means(const std::vector<CurvePoint>& points, std::size_t window);

/// The window that a curve of this many points is looked at with.
std::size_t smoothing_window(std::size_t points);

/// Gold rose to a peak and fell while proxy went on rising.
struct Overoptimisation {
  std::int64_t peak = 0;    ///< the iteration of gold's highest moving mean
  std::int64_t until = 0;   ///< the last iteration of both
  double gold_at_peak = 0;  ///< moving means
  double gold_now = 0;
  double proxy_at_peak = 0;
  double proxy_now = 0;
  std::size_t window = 1;
  /// Whether gold's fall and proxy's rise meanwhile are beyond what both waver anyhow; else only the
  /// peak is meant.
  bool suspect = false;
  /// Gold's fall in units of its range: what pairs are ranked by.
  double fall = 0;
};

/// Nothing where there are fewer than five points of either.
std::optional<Overoptimisation> overoptimisation(const std::vector<CurvePoint>& proxy,
                                                 const std::vector<CurvePoint>& gold);

}  // namespace rewardloom
