#include "engine/cli/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "engine/cli/reward_summary.h"
#include "engine/cli/telling.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

constexpr std::size_t kMostTables = 2;
constexpr std::size_t kSparkWidth = 16;
constexpr std::size_t kLeastLabel = 24;
constexpr const char* kTotal = "total";  // only rewards have a component of this name

/// A curve's cell: "0.47 → 0.53", or one number.
struct Ends {
  std::string first;
  std::string last;  ///< empty: there is one point
};

struct Line {
  std::string name;  ///< of the place or the metric
  std::vector<Ends> ends;
  std::string spark;
  std::string note;
  std::string more;  ///< of the note, where there is room
  bool suspect = false;
};

struct Table {
  std::vector<std::string> columns;  ///< a word before each of a line's ends, or none
  std::string what;                  ///< before the shared part of the names
  std::vector<Line> lines;
  int telling = 0;
};

Ends ends_of(const MetricSeries& metric) {
  Ends ends{number_text(metric.points.front().value), ""};
  if (metric.points.size() > 1) ends.last = number_text(metric.points.back().value);
  return ends;
}

void note_suspicion(Line& line, const ProxyAndGold& pair) {
  if (!pair.finding || !pair.finding->suspect) return;
  line.suspect = true;
  line.note = fmt::format("suspect since iteration {}", pair.finding->peak);
  line.more = ", when gold was " + number_text(pair.finding->gold_at_peak);
}

Line pair_line(const ProxyAndGold& pair) {
  const std::string place = common_place(pair.names.proxy, pair.names.gold);
  Line line{place.empty() ? pair.names.gold : place,
            {ends_of(*pair.proxy), ends_of(*pair.gold)},
            "",
            "",
            "",
            false};
  note_suspicion(line, pair);
  return line;
}

/// Pairs whose names leave no doubt, where anything went on.
Table pair_table(const std::vector<ProxyAndGold>& pairs, const Telling& telling,
                 std::set<std::string>& shown) {
  Table table{{"proxy", "gold"}, "proxy and gold", {}, 0};
  bool went_on = false;
  for (const ProxyAndGold& pair : pairs) {
    if (!pair.certain()) continue;
    went_on |= pair.gold->points.size() > 1;
    table.telling = std::max(table.telling, telling.of(pair.names.gold));
    table.lines.push_back(pair_line(pair));
  }
  if (!went_on) return {};
  for (const ProxyAndGold& pair : pairs) shown.insert({pair.names.proxy, pair.names.gold});
  std::sort(table.lines.begin(), table.lines.end(),
            [](const Line& a, const Line& b) { return natural_less(a.name, b.name); });
  return table;
}

Table family_table(const Family& family, const std::map<std::string, const MetricSeries*>& named,
                   const std::vector<ProxyAndGold>& pairs) {
  Table table{{""}, "", {}, family.telling};
  for (const std::string& name : family.names) {
    const MetricSeries& metric = *named.at(name);
    std::vector<double> values;
    for (const MetricPoint& point : metric.points) values.push_back(point.value);
    Line line{name, {ends_of(metric)}, "", "", "", false};
    if (values.size() > 1) line.spark = sparkline(values, kSparkWidth);
    for (const ProxyAndGold& pair : pairs) {
      if (pair.names.gold == name) note_suspicion(line, pair);
    }
    table.lines.push_back(std::move(line));
  }
  return table;
}

/// Whether every branch of `family` ends where a gold that is shown already does: the same measure
/// under another name.
bool is_gold_again(const Table& family, const Table& pairs) {
  const auto same = [](const Ends& a, const Ends& b) {
    return a.first == b.first && a.last == b.last;
  };
  return std::all_of(family.lines.begin(), family.lines.end(), [&](const Line& line) {
    return std::any_of(pairs.lines.begin(), pairs.lines.end(),
                       [&](const Line& pair) { return same(pair.ends.back(), line.ends.front()); });
  });
}

std::vector<Table> tables_of(const std::vector<MetricSeries>& metrics, const std::string& about,
                             std::size_t lines, std::set<std::string>& shown) {
  const Telling telling(about);
  std::vector<Table> tables;
  const std::vector<ProxyAndGold> found = proxy_gold_in(metrics);
  Table pairs = pair_table(found, telling, shown);
  std::map<std::string, const MetricSeries*> named;
  std::vector<std::string> names;
  for (const MetricSeries& metric : metrics) {
    if (shown.contains(metric.name)) continue;
    named.emplace(metric.name, &metric);
    names.push_back(metric.name);
  }
  std::size_t taken = pairs.lines.size();
  if (taken > 0) tables.push_back(std::move(pairs));
  const bool has_pairs = taken > 0;
  for (const Family& family : families(names, telling, lines)) {
    if (tables.size() == kMostTables) break;
    // What nobody asked for stands for the others only where nothing else is shown.
    if (!tables.empty() && (family.telling < Telling::named || taken + family.names.size() > lines))
      continue;
    if (std::all_of(family.names.begin(), family.names.end(),
                    [&](const std::string& name) { return shown.contains(name); }))
      continue;
    Table table = family_table(family, named, found);
    if (has_pairs && is_gold_again(table, tables.front())) continue;
    shown.insert(family.names.begin(), family.names.end());
    taken += table.lines.size();
    tables.push_back(std::move(table));
  }
  std::stable_sort(tables.begin(), tables.end(), [](const Table& a, const Table& b) {
    return a.telling / 100 > b.telling / 100;
  });
  return tables;
}

/// Which lines to show when there is room for some: suspects first, then one of each kind of branch
/// after the other.
std::vector<bool> chosen_lines(const Table& table, const std::vector<std::string>& labels,
                               std::size_t room) {
  std::map<std::string, std::size_t> of_kind;
  std::vector<std::pair<std::size_t, std::size_t>> order;  // turn, line
  for (std::size_t i = 0; i < labels.size(); ++i) {
    order.emplace_back(of_kind[without_sweep(labels[i])]++, i);
  }
  std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
    const bool suspect_a = table.lines[a.second].suspect;
    const bool suspect_b = table.lines[b.second].suspect;
    return suspect_a != suspect_b ? suspect_a : a.first < b.first;
  });
  std::vector<bool> chosen(labels.size(), false);
  for (std::size_t i = 0; i < std::min(room, order.size()); ++i) chosen[order[i].second] = true;
  return chosen;
}

/// The widest of each column's cells among the lines that are shown.
struct Widths {
  std::size_t label = 0;
  std::vector<Ends> ends;  ///< the widest cells themselves
};

void widen(std::string& widest, const std::string& cell) {
  if (text_width(cell) > text_width(widest)) widest = cell;
}

std::string ends_text(const std::string& column, const Ends& ends, const Ends& widest) {
  std::string out =
      "  " + column + (column.empty() ? "" : " ") + pad_left(ends.first, text_width(widest.first));
  if (widest.last.empty()) return out;
  const std::size_t last = text_width(widest.last);
  return out + (ends.last.empty() ? std::string(3 + last, ' ') : " → " + pad_left(ends.last, last));
}

std::string line_text(const Table& table, const Line& line, const std::string& label,
                      const Widths& widths, std::size_t width) {
  std::string cells;
  for (std::size_t i = 0; i < line.ends.size(); ++i) {
    cells += ends_text(table.columns[i], line.ends[i], widths.ends[i]);
  }
  if (!line.spark.empty()) cells += "  " + line.spark;
  const std::size_t taken = text_width(cells) + 2;
  const std::size_t most = std::max(kLeastLabel, width > taken ? width - taken : 0);
  const std::size_t column = std::min(widths.label, most);
  std::string out = "  " + pad_right(cut_middle(label, column), column) + cells;
  if (line.note.empty()) return out.substr(0, out.find_last_not_of(' ') + 1) + "\n";
  const std::size_t left = width - std::min(width, text_width(out) + 2);
  if (text_width(line.note + line.more) <= left) return out + "  " + line.note + line.more + "\n";
  if (text_width(line.note) <= left) return out + "  " + line.note + "\n";
  return out + "\n      " + line.note + line.more + "\n";
}

std::string table_text(const Table& table, std::size_t width, std::size_t room) {
  std::vector<std::string> names;
  for (const Line& line : table.lines) names.push_back(line.name);
  const Labels labels = labels_of(names);
  const std::vector<bool> chosen = chosen_lines(table, labels.each, room);
  Widths widths;
  widths.ends.resize(table.columns.size());
  std::size_t left_out = 0;
  bool went_on = false;
  for (std::size_t i = 0; i < table.lines.size(); ++i) {
    if (!chosen[i]) {
      ++left_out;
      continue;
    }
    widths.label = std::max(widths.label, text_width(labels.each[i]));
    for (std::size_t k = 0; k < widths.ends.size(); ++k) {
      widen(widths.ends[k].first, table.lines[i].ends[k].first);
      widen(widths.ends[k].last, table.lines[i].ends[k].last);
      went_on |= !table.lines[i].ends[k].last.empty();
    }
  }
  std::string out = table.what;
  if (!labels.shared.empty() && (out.empty() || labels.shared != "*"))
    out += (out.empty() ? "" : " in ") + labels.shared;
  out += went_on ? ": first → last\n" : "\n";
  for (std::size_t i = 0; i < table.lines.size(); ++i) {
    if (chosen[i]) out += line_text(table, table.lines[i], labels.each[i], widths, width);
  }
  if (left_out == 0) return out;
  std::size_t suspects = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (!chosen[i] && table.lines[i].suspect) ++suspects;
  }
  return out + fmt::format("  and {} more{}: `inspect` shows them\n", left_out,
                           suspects > 0 ? fmt::format(", {} of them suspect", suspects) : "");
}

}  // namespace

Comparison compared(const std::vector<MetricSeries>& metrics, const std::string& about,
                    std::size_t width, std::size_t lines) {
  Comparison comparison;
  for (const Table& table : tables_of(metrics, about, lines, comparison.shown)) {
    const std::size_t shown = std::min(lines - comparison.lines, table.lines.size());
    comparison.text += table_text(table, width, shown);
    comparison.lines += shown;
  }
  return comparison;
}

Comparison compared_run(const std::filesystem::path& folder, std::size_t width, std::size_t lines) {
  RunReader reader(folder);
  const std::string about = about_of(folder);
  const Telling telling(about);
  const std::vector<std::string> names = reader.metric_names();
  std::set<std::string> wanted;
  for (const ProxyGoldNames& pair : proxy_gold_pairs(names)) wanted.insert({pair.proxy, pair.gold});
  for (const std::string& name : names) {
    if (telling.of(name) >= Telling::worth_comparing) wanted.insert(name);
  }
  Comparison found =
      compared(read_metrics(reader, {wanted.begin(), wanted.end()}), about, width, lines);
  if (!found.text.empty()) return found;
  std::vector<std::string> ports;
  for (const ProbeName& probe : reader.probe_names()) {
    if (probe.component == kTotal) ports.push_back(probe.node + "." + probe.port);
  }
  if (families(ports, telling, lines).empty()) return found;
  return compared(reward_means(read_probes(reader)), about, width, lines);
}

std::vector<MetricSeries> reward_means(const std::vector<ProbeSeries>& probes) {
  std::vector<MetricSeries> all;
  for (const ProbeSeries& probe : probes) {
    if (probe.probe.component != kTotal) continue;
    MetricSeries series;
    series.name = probe.port();
    for (const HistogramRow& row : probe.rows) {
      series.points.push_back({row.iteration, row.distribution.mean});
    }
    all.push_back(std::move(series));
  }
  return all;
}

}  // namespace rewardloom::cli
