#include "engine/cli/reward_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "engine/cli/terminal.h"
#include "engine/io/proxy_gold.h"

namespace rewardloom::cli {
namespace {

constexpr std::size_t kMostPairs = 6;

const MetricSeries* metric_named(const RunOverview& run, const std::string& name) {
  const auto it = std::find_if(run.metrics.begin(), run.metrics.end(),
                               [&](const MetricSeries& metric) { return metric.name == name; });
  return it == run.metrics.end() ? nullptr : &*it;
}

std::vector<CurvePoint> curve_of(const MetricSeries& metric) {
  std::vector<CurvePoint> points;
  for (const MetricPoint& point : metric.points) points.push_back({point.iteration, point.value});
  return points;
}

struct Pair {
  ProxyGoldNames names;
  const MetricSeries* proxy = nullptr;
  const MetricSeries* gold = nullptr;
  std::optional<Overoptimisation> finding;
};

/// The pairs that are as certain as the most certain one.
std::vector<Pair> pairs_of(const RunOverview& run) {
  std::vector<std::string> names;
  for (const MetricSeries& metric : run.metrics) names.push_back(metric.name);
  std::vector<Pair> pairs;
  for (const ProxyGoldNames& found : proxy_gold_pairs(names)) {
    if (!pairs.empty() && found.certainty < pairs.front().names.certainty) break;
    Pair pair{found, metric_named(run, found.proxy), metric_named(run, found.gold), {}};
    pair.finding = overoptimisation(curve_of(*pair.proxy), curve_of(*pair.gold));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::string curve_row(const char* role, const MetricSeries& metric, std::size_t width) {
  constexpr std::size_t spark = 24;
  std::vector<double> values;
  for (const MetricPoint& point : metric.points) values.push_back(point.value);
  const std::size_t column = width > 80 ? width - 60 : 24;
  return fmt::format("  {} {}{}{}  {}\n", pad_right(role, 6),
                     pad_right(cut_text(metric.name, column), column),
                     pad_left(number_text(values.front()), 10),
                     pad_left(number_text(values.back()), 10), sparkline(values, spark));
}

std::string verdict(const Overoptimisation& f) {
  if (!f.suspect) {
    return fmt::format("gold is highest at iteration {}; no sign that proxy rises at its cost",
                       f.peak);
  }
  return fmt::format(
      "suspect since iteration {}: proxy {} → {} while gold {} → {} (means of {} iterations)",
      f.peak, number_text(f.proxy_at_peak), number_text(f.proxy_now), number_text(f.gold_at_peak),
      number_text(f.gold_now), f.window);
}

double share_without_signal(const Distribution& d) {
  const auto groups = static_cast<double>(d.count + d.absent);
  return groups > 0 ? static_cast<double>(d.absent) / groups : std::nan("");
}

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "no groups";
}

}  // namespace

bool is_group_spread(const ProbeSeries& series) {
  return series.probe.component == kWithinGroupStd;
}

std::string proxy_gold_text(const RunOverview& run, std::size_t width) {
  const std::vector<Pair> pairs = pairs_of(run);
  if (pairs.empty()) return {};
  std::string out = "\nproxy and gold: first, last, over iterations\n";
  for (std::size_t i = 0; i < std::min(pairs.size(), kMostPairs); ++i) {
    out += curve_row("proxy", *pairs[i].proxy, width) + curve_row("gold", *pairs[i].gold, width);
    if (pairs[i].finding) out += "         " + verdict(*pairs[i].finding) + "\n";
  }
  if (pairs.size() > kMostPairs) {
    out += fmt::format("  and {} more pairs\n", pairs.size() - kMostPairs);
  }
  return out;
}

Json proxy_gold_json(const RunOverview& run) {
  Json list = Json::array();
  for (const Pair& pair : pairs_of(run)) {
    Json one = {{"proxy", pair.names.proxy}, {"gold", pair.names.gold}, {"kl", pair.names.kl}};
    if (pair.finding) {
      const Overoptimisation& f = *pair.finding;
      one.update({{"peak_iteration", f.peak},
                  {"suspect", f.suspect},
                  {"gold_at_peak", f.gold_at_peak},
                  {"gold_last", f.gold_now},
                  {"proxy_at_peak", f.proxy_at_peak},
                  {"proxy_last", f.proxy_now},
                  {"window", f.window}});
    }
    list.push_back(std::move(one));
  }
  return list;
}

std::string groups_text(const RunOverview& run) {
  std::string out;
  for (const ProbeSeries& series : run.probes) {
    if (!is_group_spread(series)) continue;
    const Distribution& first = series.rows.front().distribution;
    const Distribution& last = series.rows.back().distribution;
    std::vector<double> shares;
    for (const HistogramRow& row : series.rows) {
      shares.push_back(share_without_signal(row.distribution));
    }
    out +=
        fmt::format("  {}  without signal {} → {}  {}", pad_right(cut_text(series.port(), 36), 36),
                    percent(shares.front()), percent(shares.back()), sparkline(shares, 24));
    if (std::isfinite(first.mean) || std::isfinite(last.mean)) {
      out += fmt::format("  spread {} → {}", number_text(first.mean), number_text(last.mean));
    }
    out += '\n';
  }
  return out.empty() ? out
                     : "\ngroups: share whose rewards are all alike, spread of the others\n" + out;
}

Json groups_json(const RunOverview& run) {
  Json list = Json::array();
  for (const ProbeSeries& series : run.probes) {
    if (!is_group_spread(series)) continue;
    const Distribution& last = series.rows.back().distribution;
    list.push_back({{"node", series.probe.node},
                    {"port", series.probe.port},
                    {"groups", last.count + last.absent},
                    {"share_without_signal", share_without_signal(last)},
                    {"within_group_std", last.mean}});
  }
  return list;
}

}  // namespace rewardloom::cli
