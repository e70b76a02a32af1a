#include "engine/run/reward_watch.h"

#include <fmt/format.h>

#include <algorithm>

namespace rewardloom {
namespace {

constexpr std::size_t kOther = static_cast<std::size_t>(-1);
constexpr std::int64_t kBetweenLooks = 5;
/// A look goes through all points: fifty looks for each doubling of the run keep that cheap.
constexpr std::int64_t kLooksOfARun = 50;
/// Of what gold had gained: a smaller fall is told when the run is looked at, but no alarm.
constexpr double kLeastFall = 0.5;

bool looks_after(std::int64_t iteration) {
  const std::int64_t done = iteration + 1;
  const std::int64_t step =
      std::max<std::int64_t>(1, done / (kBetweenLooks * kLooksOfARun)) * kBetweenLooks;
  return done % step == 0;
}

/// "race/shape[mode=raw]/measure/gold" -> "race/shape[mode=raw]/measure".
std::string place_of(const std::string& metric) {
  const std::size_t cut = metric.rfind('/');
  return cut == std::string::npos ? metric : metric.substr(0, cut);
}

/// Fallen for long enough to be more than a dip.
bool is_lasting(const Overoptimisation& found) {
  return found.suspect && found.fall > kLeastFall &&
         found.until - found.peak >= 2 * static_cast<std::int64_t>(found.window);
}

/// A name as it reads beside that of its place.
std::string name_in(const std::string& place, const std::string& metric) {
  return metric.starts_with(place + "/") ? metric.substr(place.size() + 1) : metric;
}

Problem alarm_of(const ProxyGoldNames& pair, const Overoptimisation& found) {
  const std::string place = place_of(pair.gold);
  return {
      Severity::warning,
      RewardWatch::kCode,
      {"", place, ""},
      fmt::format("{} rises, {:.4g} → {:.4g}, while {} falls, {:.4g} → {:.4g}, since iteration {} "
                  "(means of {} iterations): the reward is being hacked",
                  name_in(place, pair.proxy), found.proxy_at_peak, found.proxy_now,
                  name_in(place, pair.gold), found.gold_at_peak, found.gold_now, found.peak,
                  found.window),
      fmt::format("go back to a checkpoint near iteration {}; a stronger pull to the reference, "
                  "shaping (shape.transform) or an ensemble (ensemble.reduce) delays it",
                  found.peak),
      {}};
}

}  // namespace

void RewardWatch::metric(std::int64_t iteration, const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  note(iteration, name, value);
}

void RewardWatch::note(std::int64_t iteration, const std::string& name, double value) {
  const auto [it, is_new] = places_.try_emplace(name, kOther);
  if (is_new && can_be_of_a_pair(name)) {
    it->second = series_.size();
    series_.push_back({name, {}});
  }
  if (it->second == kOther) return;
  std::vector<CurvePoint>& points = series_[it->second].points;
  if (!points.empty() && points.back().iteration == iteration) {
    points.back().value = value;
  } else {
    points.push_back({iteration, value});
  }
}

void RewardWatch::find_pairs() {
  if (searched_ == series_.size()) return;
  searched_ = series_.size();
  std::vector<std::string> names;
  for (const Series& series : series_) names.push_back(series.name);
  // The order in which threads came must not choose between names that are equally near.
  std::sort(names.begin(), names.end());
  pairs_ = proxy_gold_pairs(names);
  const auto weaker = [&](const ProxyGoldNames& pair) {
    return pair.certainty < pairs_.front().certainty;
  };
  pairs_.erase(std::find_if(pairs_.begin(), pairs_.end(), weaker), pairs_.end());
}

const std::vector<CurvePoint>& RewardWatch::curve(const std::string& name) const {
  return series_[places_.at(name)].points;
}

std::vector<Problem> RewardWatch::suspects(std::int64_t iteration) {
  if (!looks_after(iteration)) return {};
  const std::lock_guard lock(mutex_);
  find_pairs();
  std::vector<Problem> found;
  for (const ProxyGoldNames& pair : pairs_) {
    if (told_.contains(place_of(pair.gold))) continue;
    const auto curves = overoptimisation(curve(pair.proxy), curve(pair.gold));
    if (!curves || !is_lasting(*curves)) continue;
    found.push_back(alarm_of(pair, *curves));
    told_.insert(place_of(pair.gold));
  }
  return found;
}

void RewardWatch::restore(RunReader& recorded) {
  const std::lock_guard lock(mutex_);
  for (const std::string& name : recorded.metric_names()) {
    if (!can_be_of_a_pair(name)) continue;
    for (const MetricPoint& point : recorded.metric(name)) note(point.iteration, name, point.value);
  }
  for (const AlarmRow& row : recorded.alarms()) {
    if (row.code == kCode) told_.insert(row.node);
  }
}

}  // namespace rewardloom
