#include "engine/cli/reward_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "engine/cli/row_groups.h"
#include "engine/cli/telling.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

constexpr std::size_t kMostPairs = 6;
constexpr std::size_t kGroupSparkWidth = 12;
constexpr std::size_t kNumberWidth = 11;  // -4.064e-09 and a blank

std::vector<CurvePoint> curve_of(const MetricSeries& metric) {
  std::vector<CurvePoint> points;
  for (const MetricPoint& point : metric.points) points.push_back({point.iteration, point.value});
  return points;
}

bool last_part_holds(const std::string& name, const char* word) {
  return path_parts(name).back().find(word) != std::string::npos;
}

std::string curve_cells(const MetricSeries& metric, std::size_t spark) {
  std::vector<double> values;
  for (const MetricPoint& point : metric.points) values.push_back(point.value);
  return pad_left(number_text(values.front()), kNumberWidth) +
         pad_left(number_text(values.back()), kNumberWidth) + "  " + sparkline(values, spark);
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

bool is_suspect(const ProxyAndGold& pair) { return pair.finding && pair.finding->suspect; }

/// "proxy", or "gold  held_out/accuracy" where the name does not say which it is.
std::string role_label(const std::string& role, const std::string& place, const std::string& name) {
  const std::string leaf = place.empty() ? name : name.substr(place.size() + 1);
  return leaf == role ? role : pad_right(role, 7) + leaf;
}

struct PairLabels {
  std::string place;
  std::string proxy;
  std::string gold;
};

PairLabels labels_of_pair(const ProxyAndGold& pair) {
  const std::string place = common_place(pair.names.proxy, pair.names.gold);
  return {place, role_label("proxy", place, pair.names.proxy),
          role_label("gold", place, pair.names.gold)};
}

std::string pair_text(const ProxyAndGold& pair, std::size_t column, std::size_t spark,
                      std::size_t width) {
  const PairLabels labels = labels_of_pair(pair);
  std::string out;
  if (!labels.place.empty()) out += "  " + labels.place + "\n";
  const std::string indent(labels.place.empty() ? 2 : 4, ' ');
  const auto row = [&](const std::string& label, const MetricSeries& metric) {
    return indent + pad_right(cut_middle(label, column), column) + curve_cells(metric, spark) +
           "\n";
  };
  out += row(labels.proxy, *pair.proxy) + row(labels.gold, *pair.gold);
  if (!pair.finding) return out;
  for (const std::string& line : wrapped(verdict(*pair.finding), width - indent.size()))
    out += indent + line + "\n";
  return out;
}

double share_without_signal(const Distribution& d) {
  const auto groups = static_cast<double>(d.count + d.absent);
  return groups > 0 ? static_cast<double>(d.absent) / groups : std::nan("");
}

std::string spread(double mean) { return std::isfinite(mean) ? number_text(mean) : "none"; }

std::string percent(double share) {
  return std::isfinite(share) ? fmt::format("{:.1f} %", 100 * share) : "no groups";
}

}  // namespace

bool ProxyAndGold::certain() const {
  return last_part_holds(names.proxy, "proxy") && last_part_holds(names.gold, "gold");
}

std::vector<ProxyAndGold> proxy_gold_in(const std::vector<MetricSeries>& metrics) {
  std::unordered_map<std::string, const MetricSeries*> named;
  std::vector<std::string> names;
  for (const MetricSeries& metric : metrics) {
    named.emplace(metric.name, &metric);
    names.push_back(metric.name);
  }
  std::vector<ProxyAndGold> pairs;
  for (const ProxyGoldNames& found : proxy_gold_pairs(names)) {
    if (!pairs.empty() && found.certainty < pairs.front().names.certainty) break;
    ProxyAndGold pair{found, named.at(found.proxy), named.at(found.gold), {}};
    pair.finding = overoptimisation(curve_of(*pair.proxy), curve_of(*pair.gold));
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

bool is_group_spread(const ProbeSeries& series) {
  return series.probe.component == kWithinGroupStd;
}

std::string proxy_gold_text(const RunOverview& run, std::size_t width) {
  std::vector<ProxyAndGold> pairs = proxy_gold_in(run.metrics);
  if (pairs.empty()) return {};
  std::stable_sort(pairs.begin(), pairs.end(), [](const ProxyAndGold& a, const ProxyAndGold& b) {
    return is_suspect(a) && !is_suspect(b);
  });
  const std::size_t shown = std::min(pairs.size(), kMostPairs);
  std::size_t column = 0;
  for (std::size_t i = 0; i < shown; ++i) {
    const PairLabels labels = labels_of_pair(pairs[i]);
    column = std::max({column, text_width(labels.proxy), text_width(labels.gold)});
  }
  const std::size_t spark = width < 100 ? 12 : 24;
  const std::size_t besides = 4 + 2 * kNumberWidth + 2 + spark;
  column = std::min(column, std::max<std::size_t>(width, besides + 28) - besides);
  std::string out = "\nproxy and gold: first, last, over iterations\n";
  for (std::size_t i = 0; i < shown; ++i) out += pair_text(pairs[i], column, spark, width);
  if (pairs.size() > shown) out += fmt::format("  and {} more pairs\n", pairs.size() - shown);
  return out;
}

Json proxy_gold_json(const RunOverview& run) {
  Json list = Json::array();
  for (const ProxyAndGold& pair : proxy_gold_in(run.metrics)) {
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

std::string groups_text(const RunOverview& run, std::size_t width) {
  std::vector<NamedRow> rows;
  std::vector<std::string> cells;
  for (const ProbeSeries& series : run.probes) {
    if (!is_group_spread(series)) continue;
    const Distribution& first = series.rows.front().distribution;
    const Distribution& last = series.rows.back().distribution;
    std::vector<double> shares;
    for (const HistogramRow& row : series.rows) {
      shares.push_back(share_without_signal(row.distribution));
    }
    std::string cell = "  " + pad_left(percent(shares.front()), 7) + " → " +
                       pad_left(percent(shares.back()), 7) + "  " +
                       pad_right(sparkline(shares, kGroupSparkWidth), kGroupSparkWidth);
    if (std::isfinite(first.mean) || std::isfinite(last.mean)) {
      cell += fmt::format("  {} → {}", spread(first.mean), spread(last.mean));
    }
    rows.push_back(metric_row_name(series.port(), {}));
    cells.push_back(std::move(cell));
  }
  if (rows.empty()) return {};
  constexpr std::size_t kBesides = 2 + 17 + 2 + kGroupSparkWidth + 2 + 17;
  const RowGroups groups(std::move(rows), width > kBesides ? width - kBesides : 0);
  return "\ngroups: share without signal (whose rewards are all alike), spread of the others\n" +
         groups.text(cells);
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
