#include "engine/cli/run_overview.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/cli/reward_summary.h"
#include "engine/cli/run_report.h"
#include "engine/cli/run_summary.h"
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

namespace {

std::vector<MetricSeries> read_metrics(RunReader& reader) {
  std::vector<MetricSeries> all;
  for (const std::string& name : reader.metric_names()) {
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
  try {
    run.info = read_run_info(folder);
  } catch (const Failure& failure) {
    run.problems.push_back(failure.problem());
    run.problems.back().severity = Severity::warning;
  }
  run.last_iteration = reader.last_iteration();
  run.metrics = read_metrics(reader);
  for (const ProbeSummary& probe : reader.probes()) {
    ProbeSeries series{probe, reader.histograms(probe.node, probe.port, probe.component)};
    if (!series.rows.empty()) run.probes.push_back(std::move(series));
  }
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

constexpr std::size_t kNumberWidth = 11;  // -4.064e-09 and a blank
constexpr std::size_t kSparkWidth = 24;
constexpr std::size_t kNameWidth = 36;

template <class Range, class Name>
std::size_t name_column(const Range& range, Name name) {
  std::size_t column = 8;
  for (const auto& item : range) column = std::max(column, text_width(name(item)));
  return std::min(column, kNameWidth);
}

bool is_constant(const MetricSeries& metric) {
  return metric.points.size() > 1 && metric.min == metric.max;
}

std::string metric_row(const MetricSeries& metric, std::size_t column) {
  std::vector<double> values;
  for (const MetricPoint& point : metric.points) values.push_back(point.value);
  std::string out = pad_right(cut_text(metric.name, column), column);
  for (const double value : {values.front(), values.back(), metric.min, metric.max}) {
    out += pad_left(number_text(value), kNumberWidth);
  }
  return out + "  " + sparkline(values, kSparkWidth) + "\n";
}

std::string metrics_text(const std::vector<MetricSeries>& metrics, std::size_t width) {
  if (metrics.empty()) return {};
  const std::size_t column = name_column(metrics, [](const MetricSeries& m) { return m.name; });
  std::string out = "\n" + pad_right("metric", column);
  for (const char* title : {"first", "last", "min", "max"}) out += pad_left(title, kNumberWidth);
  out += "\n";
  std::string constant;
  for (const MetricSeries& metric : metrics) {
    if (is_constant(metric)) {
      constant += (constant.empty() ? "" : ", ") + metric.name + " " + number_text(metric.max);
    } else {
      out += metric_row(metric, column);
    }
  }
  if (constant.empty()) return out;
  out += "always the same\n";
  for (const std::string& line : wrapped(constant, width - 2)) out += "  " + line + "\n";
  return out;
}

std::string mean_and_spread(const Distribution& d) {
  if (d.count == 0) return "all absent";
  return number_text(d.mean) + " ± " + number_text(d.std);
}

std::string probes_text(const std::vector<ProbeSeries>& probes) {
  if (probes.empty()) return {};
  const auto name = [](const ProbeSeries& p) { return p.port() + " " + p.probe.component; };
  const std::size_t column = name_column(probes, name);
  constexpr std::size_t kSpreadWidth = 24;
  std::string out = "\n" + pad_right("recorded port", column) +
                    pad_left("first mean ± std", kSpreadWidth) +
                    pad_left("last mean ± std", kSpreadWidth);
  for (const char* title : {"5 %", "50 %", "95 %"}) out += pad_left(title, kNumberWidth);
  out += "  mean over iterations\n";
  for (const ProbeSeries& probe : probes) {
    if (is_group_spread(probe)) continue;
    const Distribution& last = probe.rows.back().distribution;
    out += pad_right(cut_text(name(probe), column), column);
    out += pad_left(mean_and_spread(probe.rows.front().distribution), kSpreadWidth);
    out += pad_left(mean_and_spread(last), kSpreadWidth);
    for (const char* q : {"q05", "q50", "q95"})
      out += pad_left(number_text(quantile(last, q)), kNumberWidth);
    out += "  " + sparkline(means(probe.rows), kSparkWidth) + "\n";
  }
  return out;
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

/// Rewards before everything else.
const ProbeSeries* most_telling(const std::vector<ProbeSeries>& probes) {
  for (const ProbeSeries& series : probes) {
    if (series.probe.component == "total") return &series;
  }
  return probes.empty() ? nullptr : &probes.front();
}

}  // namespace

std::string overview_text(const RunOverview& run, std::size_t width) {
  std::string out = heading(run) + metrics_text(run.metrics, width) + probes_text(run.probes) +
                    proxy_gold_text(run, width) + groups_text(run) + alarms_text(run.alarms, width);
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
