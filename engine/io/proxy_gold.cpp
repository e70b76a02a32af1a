#include "engine/io/proxy_gold.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "engine/core/node_paths.h"

namespace rewardloom {
namespace {

constexpr std::size_t kFewestPoints = 5;
constexpr double kLeastFall = 0.1;  // of gold's range
/// How far a fall or rise must be beyond what blocks of points waver.
constexpr double kFallDeviations = 5;
constexpr double kRiseDeviations = 2;

std::string last_part(const std::string& name) {
  const std::size_t cut = name.find_last_of("/.");
  return cut == std::string::npos ? name : name.substr(cut + 1);
}

bool name_holds(const std::string& text, const char* word) {
  return text.find(word) != std::string::npos;
}

/// The node and what it measures, without the branch of a sweep: "reward[mode=raw]/watch/success"
/// -> "watch/success".
std::string last_two_parts(const std::string& name) {
  const std::string bare = without_branches(name);
  const std::size_t last = bare.rfind('/');
  if (last == std::string::npos || last == 0) return bare;
  const std::size_t before = bare.rfind('/', last - 1);
  return before == std::string::npos ? bare : bare.substr(before + 1);
}

/// How sure a name is to mean a true reward that is measured only; 0: it is none.
int gold_rank(const std::string& name) {
  const std::string last = last_part(name);
  if (last == "gold") return 4;
  if (name_holds(last, "gold") || (name.starts_with("mean of ") && name_holds(name, "gold")))
    return 3;
  const bool apart =
      name_holds(name, "held_out") || name_holds(name, "exam") || name_holds(name, "eval");
  const bool worth = last == "accuracy" || last == "success" || last == "score" ||
                     name_holds(last, "pass") || last == "win_rate" || name_holds(last, "reward");
  return apart && worth ? 2 : last == "win_rate" ? 1 : 0;
}

/// The same for what is trained on.
int proxy_rank(const std::string& name) {
  if (gold_rank(name) > 0 || name_holds(name, "absent")) return 0;
  const std::string last = last_part(name);
  if (last == "proxy") return 4;
  if (name_holds(last, "proxy") || (name.starts_with("mean of ") && name_holds(name, "proxy")))
    return 3;
  if (last.ends_with("reward")) return 2;
  const bool reward = name_holds(last_two_parts(name), "reward");
  if (reward && (last == "accuracy" || last == "mean" || last == "score")) return 2;
  return name.starts_with("mean of ") ? 1 : 0;
}

/// A divergence from the reference policy.
int kl_rank(const std::string& name) {
  const std::string last = last_part(name);
  if (last == "kl_row" || last == "kl") return 3;
  if (last == "kl_mean" || last == "k3_kl" || last == "ref_kl") return 2;
  return 0;
}

/// How many leading parts two names share.
std::size_t shared_parts(const std::string& a, const std::string& b) {
  std::size_t parts = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size() && a[i] == b[i]; ++i) {
    if (a[i] == '/') ++parts;
  }
  return parts;
}

/// The name of that kind that stands nearest to `near`.
template <class Kind>
std::string nearest_name(const std::vector<std::string>& names, const std::string& near,
                         Kind kind) {
  std::string best;
  std::tuple<std::size_t, int> rank{0, 0};
  for (const std::string& name : names) {
    const int sure = kind(name);
    if (sure == 0) continue;
    const std::tuple<std::size_t, int> here{shared_parts(name, near), sure};
    if (!best.empty() && here <= rank) continue;
    best = name;
    rank = here;
  }
  return best;
}

double median_size(std::vector<double> numbers) {
  if (numbers.empty()) return 0;
  const auto middle = numbers.begin() + static_cast<std::ptrdiff_t>(numbers.size() / 2);
  std::nth_element(numbers.begin(), middle, numbers.end());
  return *middle;
}

/// By how much a mean over `window` points wavers, from medians, so that a steep fall does not hide
/// itself: by what points differ from their neighbours, and by how far means that lie two windows
/// apart stand off a straight line, which slow wandering is in and a trend is not. Few points say
/// nothing of wandering; it is then taken to be as much again and more.
double wavering(const std::vector<CurvePoint>& points, const std::vector<double>& means,
                std::size_t window) {
  constexpr std::size_t kFewest = 8;
  constexpr double kUnknown = 3;
  constexpr double kMedian = 0.6745;  // of the size of a normal number, in standard deviations
  std::vector<double> steps, bends;
  const auto add = [](std::vector<double>& list, double x) {
    if (std::isfinite(x)) list.push_back(std::abs(x));
  };
  for (std::size_t i = 1; i < points.size(); ++i) {
    add(steps, points[i].value - points[i - 1].value);
  }
  const std::size_t lag = 2 * window, edge = lag + window / 2;
  for (std::size_t i = edge; i + edge < means.size(); ++i) {
    add(bends, means[i - lag] - 2 * means[i] + means[i + lag]);
  }
  const double of_steps =
      median_size(steps) / (kMedian * std::sqrt(2.0 * static_cast<double>(window)));
  if (bends.size() < kFewest) return kUnknown * of_steps;
  const double of_bends = median_size(bends) / (kMedian * std::sqrt(6.0));
  // So many bends are apart from each other; the fewer, the less is their median to be trusted.
  const double apart = static_cast<double>(means.size()) / static_cast<double>(lag);
  return std::max(of_steps, of_bends) * (1 + 2 / std::sqrt(apart));
}

/// The mean of the last `window` points.
double last_mean(const std::vector<CurvePoint>& points, std::size_t window) {
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = points.size() - std::min(window, points.size()); i < points.size(); ++i) {
    if (!std::isfinite(points[i].value)) continue;
    sum += points[i].value;
    ++count;
  }
  return count == 0 ? std::nan("") : sum / static_cast<double>(count);
}

/// The highest of that many blocks' means, in their standard deviations, where all that they do is
/// waver.
double expected_highest(std::size_t points, std::size_t window) {
  const double blocks = std::max(2.0, static_cast<double>(points) / static_cast<double>(window));
  return std::sqrt(2 * std::log(blocks));
}

double mean_at(const std::vector<CurvePoint>& points, const std::vector<double>& means,
               std::int64_t iteration) {
  const auto after =
      std::upper_bound(points.begin(), points.end(), iteration,
                       [](std::int64_t i, const CurvePoint& point) { return i < point.iteration; });
  const auto index = after == points.begin() ? 0 : after - points.begin() - 1;
  return means[static_cast<std::size_t>(index)];
}

}  // namespace

bool can_be_of_a_pair(const std::string& name) {
  return gold_rank(name) > 0 || proxy_rank(name) > 0 || kl_rank(name) > 0;
}

std::vector<ProxyGoldNames> proxy_gold_pairs(const std::vector<std::string>& names) {
  std::vector<ProxyGoldNames> pairs;
  for (const std::string& gold : names) {
    const int sure = gold_rank(gold);
    if (sure == 0) continue;
    ProxyGoldNames pair{nearest_name(names, gold, proxy_rank), gold,
                        nearest_name(names, gold, kl_rank)};
    if (pair.proxy.empty()) continue;
    pair.certainty = sure * 10 + proxy_rank(pair.proxy);
    pairs.push_back(std::move(pair));
  }
  std::stable_sort(
      pairs.begin(), pairs.end(),
      [](const ProxyGoldNames& a, const ProxyGoldNames& b) { return a.certainty > b.certainty; });
  return pairs;
}

std::size_t smoothing_window(std::size_t points) {
  const std::size_t half = std::min<std::size_t>(points / 40, 50);
  return 2 * std::max<std::size_t>(half, points >= 3 * kFewestPoints ? 2 : 0) + 1;
}

std::vector<double> moving_means(const std::vector<CurvePoint>& points, std::size_t window) {
  std::vector<double> means(points.size(), std::nan(""));
  std::vector<double> sums(points.size() + 1, 0);
  std::vector<std::size_t> counts(points.size() + 1, 0);
  for (std::size_t i = 0; i < points.size(); ++i) {
    const bool there = std::isfinite(points[i].value);
    sums[i + 1] = sums[i] + (there ? points[i].value : 0);
    counts[i + 1] = counts[i] + (there ? 1 : 0);
  }
  const std::size_t half = window / 2;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t from = i > half ? i - half : 0;
    const std::size_t to = std::min(points.size(), i + half + 1);
    const std::size_t count = counts[to] - counts[from];
    if (count > 0) means[i] = (sums[to] - sums[from]) / static_cast<double>(count);
  }
  return means;
}

std::optional<Overoptimisation> overoptimisation(const std::vector<CurvePoint>& proxy,
                                                 const std::vector<CurvePoint>& gold) {
  if (proxy.size() < kFewestPoints || gold.size() < kFewestPoints) return std::nullopt;
  Overoptimisation found;
  found.window = smoothing_window(gold.size());
  const std::vector<double> golds = moving_means(gold, found.window);
  const std::vector<double> proxies = moving_means(proxy, smoothing_window(proxy.size()));
  std::size_t peak = 0;
  double lowest = golds[0];
  for (std::size_t i = 0; i < golds.size(); ++i) {
    if (!(golds[i] <= golds[peak])) peak = i;
    lowest = std::min(lowest, golds[i]);
  }
  found.peak = gold[peak].iteration;
  found.until = std::min(proxy.back().iteration, gold.back().iteration);
  found.gold_at_peak = golds[peak];
  found.gold_now = last_mean(gold, found.window);
  found.proxy_at_peak = mean_at(proxy, proxies, found.peak);
  found.proxy_now = last_mean(proxy, smoothing_window(proxy.size()));
  const double range = found.gold_at_peak - lowest;
  if (range > 0) found.fall = (found.gold_at_peak - found.gold_now) / range;
  const double least_fall = wavering(gold, golds, found.window) *
                            (kFallDeviations + expected_highest(golds.size(), found.window));
  const double least_rise =
      wavering(proxy, proxies, smoothing_window(proxy.size())) * kRiseDeviations;
  found.suspect = found.fall > kLeastFall && found.gold_at_peak - found.gold_now > least_fall &&
                  found.proxy_now - found.proxy_at_peak > least_rise;
  return found;
}

}  // namespace rewardloom
