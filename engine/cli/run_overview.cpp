#include "engine/cli/run_overview.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "engine/cli/comparison.h"
#include "engine/cli/reward_summary.h"
#include "engine/cli/row_groups.h"
#include "engine/cli/run_report.h"
#include "engine/cli/run_summary.h"
#include "engine/cli/telling.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace fs = std::filesystem;

fs::path run_folder_named(const std::string& given) {
  fs::path path = fs::path(given).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (path.filename() == "run.db" || path.filename() == "run.json") path = path.parent_path();
  if (path.parent_path().filename() == "checkpoints") path = path.parent_path().parent_path();
  if (path.filename() == "checkpoints") path = path.parent_path();
  return path.empty() ? fs::path(".") : path;
}

double quantile(const Distribution& distribution, std::string_view name) {
  const auto it = std::find(quantile_names.begin(), quantile_names.end(), name);
  return distribution.quantiles.at(static_cast<std::size_t>(it - quantile_names.begin()));
}

Json statistics_json(const Distribution& d) {
  Json json = {{"count", d.count}, {"absent", d.absent}, {"nonfinite", d.nonfinite},
               {"mean", d.mean},   {"std", d.std},       {"min", d.min},
               {"max", d.max}};
  for (std::size_t i = 0; i < quantile_names.size(); ++i) {
    json[std::string(quantile_names[i])] = d.quantiles[i];
  }
  return json;
}

std::vector<double> means(const std::vector<HistogramRow>& rows) {
  std::vector<double> out;
  for (const HistogramRow& row : rows) out.push_back(row.distribution.mean);
  return out;
}

std::vector<MetricSeries> read_metrics(RunReader& reader, const std::vector<std::string>& names) {
  std::vector<MetricSeries> all;
  for (const std::string& name : names) {
    MetricSeries series{name, reader.metric(name), std::nan(""), std::nan("")};
    if (series.points.empty()) continue;
    for (const MetricPoint& point : series.points) {
      series.min = std::fmin(series.min, point.value);
      series.max = std::fmax(series.max, point.value);
    }
    all.push_back(std::move(series));
  }
  return all;
}

std::vector<ProbeSeries> read_probes(RunReader& reader) {
  std::vector<ProbeSeries> all;
  for (const ProbeSummary& probe : reader.probes()) {
    ProbeSeries series{probe, reader.histograms(probe.node, probe.port, probe.component)};
    if (!series.rows.empty()) all.push_back(std::move(series));
  }
  return all;
}

namespace {

std::vector<AlarmGroup> read_alarms(RunReader& reader) {
  std::vector<AlarmGroup> groups;
  for (const AlarmRow& row : reader.alarms()) {
    auto it = std::find_if(groups.begin(), groups.end(), [&](const AlarmGroup& group) {
      return group.first.code == row.code && group.first.node == row.node;
    });
    if (it == groups.end()) it = groups.insert(groups.end(), AlarmGroup{row, 0, 0});
    ++it->count;
    it->last_iteration = row.iteration;
  }
  return groups;
}

}  // namespace

RunOverview read_overview(RunReader& reader, const fs::path& folder) {
  RunOverview run;
  run.folder = folder;
  run.about = about_of(folder);
  try {
    run.info = read_run_info(folder);
  } catch (const Failure& failure) {
    run.problems.push_back(failure.problem());
    run.problems.back().severity = Severity::warning;
  }
  run.last_iteration = reader.last_iteration();
  run.metrics = read_metrics(reader, reader.metric_names());
  run.probes = read_probes(reader);
  run.alarms = read_alarms(reader);
  run.nodes = reader.nodes();
  run.problems.insert(run.problems.end(), reader.problems().begin(), reader.problems().end());
  return run;
}

namespace {

std::string heading(const RunOverview& run) {
  std::string out = "run       " + shown_path(run.folder) + "\n";
  if (!run.info) {
    const std::string so_far = run.last_iteration
                                   ? fmt::format("recorded up to iteration {}", *run.last_iteration)
                                   : "nothing is recorded yet";
    return out + "state     unknown; " + so_far + "\n";
  }
  const RunInfo& info = *run.info;
  if (info.state == "running") {
    out +=
        run.last_iteration
            ? fmt::format(
                  "state     running, or ended without notice: recorded up to iteration {} of {}\n",
                  *run.last_iteration, info.iterations)
            : "state     running, or ended without notice: nothing is recorded yet\n";
  } else {
    out += fmt::format("state     {}: {} of {} iterations, {}\n", info.state, info.completed,
                       info.iterations, duration_text(info.seconds));
  }
  if (!info.graph_file.empty()) out += "graph     " + shown_path(info.graph_file) + "\n";
  out += fmt::format("settings  seed {}, {}, {}, RewardLoom {}, LibTorch {}\n", info.seed,
                     info.device, counted(static_cast<std::size_t>(info.threads), "thread"),
                     info.version, info.libtorch);
  if (!info.problem.is_null()) {
    out += "failure   " + format(problem_from_json(info.problem)) + "\n";
  }
  return out;
}

constexpr std::size_t kLeastSpark = 8;
constexpr std::size_t kMostSpark = 24;
constexpr std::size_t kWide = 100;  // columns from which on there is room for blanks

bool is_constant(const MetricSeries& metric) {
  return metric.points.size() > 1 && metric.min == metric.max;
}

/// Columns of text under their titles, each as wide as its widest cell.
class Columns {
 public:
  Columns(std::vector<std::string> titles, std::size_t gap)
      : titles_(std::move(titles)), gap_(gap) {
    for (const std::string& title : titles_) widths_.push_back(text_width(title));
  }
  void add(std::vector<std::string> cells) {
    for (std::size_t i = 0; i < cells.size(); ++i)
      widths_[i] = std::max(widths_[i], text_width(cells[i]));
    rows_.push_back(std::move(cells));
  }
  std::size_t width() const {
    return std::accumulate(widths_.begin(), widths_.end(), gap_ * widths_.size());
  }
  std::string titles() const { return line(titles_); }
  std::string row(std::size_t index) const { return line(rows_[index]); }

 private:
  std::string line(const std::vector<std::string>& cells) const {
    std::string out;
    for (std::size_t i = 0; i < cells.size(); ++i) out += pad_left(cells[i], widths_[i] + gap_);
    return out;
  }
  std::vector<std::string> titles_;
  std::size_t gap_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

std::size_t gap_in(std::size_t width) { return width >= kWide ? 2 : 1; }

/// What is left of `width` for names beside columns and a small curve.
std::size_t room_for_names(std::size_t width, const Columns& columns) {
  const std::size_t taken = columns.width() + 2 + kLeastSpark;
  return width > taken ? width - taken : 0;
}

/// A table of named rows, each with its cells and its curve.
std::string table_text(const std::string& title, const std::string& curve_title,
                       std::vector<NamedRow> names, const Columns& columns,
                       const std::vector<std::vector<double>>& curves, std::size_t width) {
  const RowGroups groups(std::move(names), room_for_names(width, columns));
  const std::size_t taken = groups.column() + columns.width() + 2;
  const std::size_t spark = std::clamp(width > taken ? width - taken : 0, kLeastSpark, kMostSpark);
  std::vector<std::string> cells;
  for (std::size_t i = 0; i < curves.size(); ++i)
    cells.push_back(columns.row(i) + "  " + sparkline(curves[i], spark));
  std::string head = pad_right(title, groups.column()) + columns.titles();
  if (!curve_title.empty() && text_width(head) + 2 + text_width(curve_title) <= width)
    head += "  " + curve_title;
  return "\n" + head + "\n" + groups.text(cells);
}

/// Nodes with the same constants.
struct Constants {
  std::vector<std::string> places;
  std::vector<std::string> values;  ///< "actor/lr 0.001"
};

std::vector<Constants> constants_of(const std::vector<MetricSeries>& metrics,
                                    const std::set<std::string>& nodes) {
  std::map<std::string, std::vector<std::string>, bool (*)(const std::string&, const std::string&)>
      by_place(natural_less);
  for (const MetricSeries& metric : metrics) {
    if (!is_constant(metric)) continue;
    const NamedRow row = metric_row_name(metric.name, nodes);
    by_place[row.place].push_back(row.leaf + " " + number_text(metric.max));
  }
  std::vector<Constants> all;
  for (auto& [place, values] : by_place) {
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const Constants& other) { return other.values == values; });
    if (same == all.end()) {
      all.push_back({{place}, std::move(values)});
    } else {
      same->places.push_back(place);
    }
  }
  return all;
}

/// "update: actor/lr 0.001, actor/steps 1": names and values are not torn apart.
std::string constants_text(const std::vector<MetricSeries>& metrics,
                           const std::set<std::string>& nodes, std::size_t width) {
  std::string out;
  for (const Constants& constants : constants_of(metrics, nodes)) {
    std::string line = " ";
    const auto add = [&](const std::vector<std::string>& words, const char* end) {
      for (std::size_t i = 0; i < words.size(); ++i) {
        if (words[i].empty()) continue;
        const std::string word = words[i] + (i + 1 < words.size() ? "," : end);
        if (line.size() > 3 && text_width(line) + 1 + text_width(word) > width) {
          out += line + "\n";
          line = "   ";
        }
        line += " " + word;
      }
    };
    add(constants.places, ":");
    add(constants.values, "");
    out += line + "\n";
  }
  return out.empty() ? out : "always the same\n" + out;
}

std::string metrics_text(const RunOverview& run, std::size_t width) {
  if (run.metrics.empty()) return {};
  std::set<std::string> nodes;
  for (const NodeRow& node : run.nodes) nodes.insert(node.node);
  Columns columns({"first", "last", "min", "max"}, gap_in(width));
  std::vector<NamedRow> names;
  std::vector<std::vector<double>> curves;
  for (const MetricSeries& metric : run.metrics) {
    if (is_constant(metric)) continue;
    std::vector<double> values;
    for (const MetricPoint& point : metric.points) values.push_back(point.value);
    columns.add({number_text(values.front()), number_text(values.back()), number_text(metric.min),
                 number_text(metric.max)});
    names.push_back(metric_row_name(metric.name, nodes));
    curves.push_back(std::move(values));
  }
  return table_text("metric", "", std::move(names), columns, curves, width) +
         constants_text(run.metrics, nodes, width);
}

std::string mean_and_spread(const Distribution& d) {
  if (d.count == 0) return "all absent";
  return number_text(d.mean) + " ± " + number_text(d.std);
}

std::string probes_text(const std::vector<ProbeSeries>& probes, std::size_t width) {
  if (probes.empty()) return {};
  constexpr std::size_t kWithQuantiles = 120;  // columns
  std::vector<std::string> titles = {"first mean ± std", "last mean ± std"};
  if (width >= kWithQuantiles) titles.insert(titles.end(), {"5 %", "50 %", "95 %"});
  Columns columns(titles, gap_in(width));
  std::vector<NamedRow> names;
  std::vector<std::vector<double>> curves;
  for (const ProbeSeries& probe : probes) {
    if (is_group_spread(probe)) continue;
    const Distribution& last = probe.rows.back().distribution;
    std::vector<std::string> cells = {mean_and_spread(probe.rows.front().distribution),
                                      mean_and_spread(last)};
    if (width >= kWithQuantiles) {
      for (const char* q : {"q05", "q50", "q95"}) cells.push_back(number_text(quantile(last, q)));
    }
    columns.add(std::move(cells));
    const std::string leaf = probe.probe.port + " " + probe.probe.component;
    names.push_back({probe.probe.node, leaf, probe.port() + " " + probe.probe.component});
    curves.push_back(means(probe.rows));
  }
  return table_text("recorded port", "mean", std::move(names), columns, curves, width);
}

std::string alarms_text(const std::vector<AlarmGroup>& alarms, std::size_t width) {
  if (alarms.empty()) return "\nalarms    none\n";
  std::string out = "\nalarms\n";
  for (const AlarmGroup& group : alarms) {
    const AlarmRow& row = group.first;
    const std::string when = group.count == 1
                                 ? fmt::format("iteration {}", row.iteration)
                                 : fmt::format("{} times, iterations {} to {}", group.count,
                                               row.iteration, group.last_iteration);
    out += fmt::format("  {}[{}] {}{}\n", to_string(row.severity), row.code,
                       row.node.empty() ? "" : row.node + ", ", when);
    for (const std::string& line : wrapped(row.text, width > 24 ? width - 4 : 20))
      out += "    " + line + "\n";
  }
  return out;
}

std::string branches_text(const RunOverview& run, std::size_t width) {
  std::string text = compared(run.metrics, run.about, width).text;
  if (text.empty()) text = compared(reward_means(run.probes), run.about, width).text;
  return text.empty() ? text : "\n" + text;
}

/// Rewards before everything else.
const ProbeSeries* most_telling(const std::vector<ProbeSeries>& probes) {
  for (const ProbeSeries& series : probes) {
    if (series.probe.component == "total") return &series;
  }
  return probes.empty() ? nullptr : &probes.front();
}

}  // namespace

std::string overview_text(const RunOverview& run, std::size_t width) {
  std::string out = heading(run) + branches_text(run, width) + metrics_text(run, width) +
                    probes_text(run.probes, width) + proxy_gold_text(run, width) +
                    groups_text(run, width) + alarms_text(run.alarms, width);
  const std::string slowest = slowest_nodes(run.nodes, 6);
  if (!slowest.empty()) out += "\ntime      " + slowest + "\n";
  if (const ProbeSeries* const probe = most_telling(run.probes)) {
    out += fmt::format("\nmore      rewardloom inspect {} --port {}\n", shown_path(run.folder),
                       shell_word(probe->port()));
  }
  return out;
}

namespace {

Json probe_json(const ProbeSeries& series) {
  return {{"node", series.probe.node},
          {"port", series.probe.port},
          {"component", series.probe.component},
          {"recorded", series.rows.size()},
          {"first_iteration", series.rows.front().iteration},
          {"last_iteration", series.rows.back().iteration},
          {"first", statistics_json(series.rows.front().distribution)},
          {"last", statistics_json(series.rows.back().distribution)}};
}

Json alarm_json(const AlarmGroup& group) {
  return {{"severity", to_string(group.first.severity)},
          {"code", group.first.code},
          {"node", group.first.node},
          {"port", group.first.port},
          {"message", group.first.text},
          {"help", group.first.help},
          {"count", group.count},
          {"first_iteration", group.first.iteration},
          {"last_iteration", group.last_iteration}};
}

}  // namespace

Json overview_json(const RunOverview& run) {
  Json json = {{"folder", fs::absolute(run.folder).string()},
               {"info", run.info ? to_json(*run.info) : Json(nullptr)},
               {"last_iteration", run.last_iteration ? Json(*run.last_iteration) : Json(nullptr)}};
  for (const char* key : {"metrics", "probes", "alarms", "nodes", "problems"})
    json[key] = Json::array();
  for (const MetricSeries& metric : run.metrics) {
    json["metrics"].push_back({{"name", metric.name},
                               {"count", metric.points.size()},
                               {"first", metric.points.front().value},
                               {"last", metric.points.back().value},
                               {"min", metric.min},
                               {"max", metric.max}});
  }
  for (const ProbeSeries& probe : run.probes) json["probes"].push_back(probe_json(probe));
  json["proxy_gold"] = proxy_gold_json(run);
  json["groups"] = groups_json(run);
  for (const AlarmGroup& group : run.alarms) json["alarms"].push_back(alarm_json(group));
  for (const NodeRow& row : run.nodes) {
    json["nodes"].push_back({{"node", row.node},
                             {"type", row.type},
                             {"firings", row.firings},
                             {"seconds", row.seconds},
                             {"waiting_seconds", row.waiting_seconds},
                             {"failures", row.failures}});
  }
  for (const Problem& problem : run.problems) json["problems"].push_back(to_json(problem));
  return json;
}

}  // namespace rewardloom::cli
