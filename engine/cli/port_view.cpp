#include "engine/cli/port_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/cli/command_line.h"
#include "engine/cli/heat_map.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

std::string port_of(const ProbeSummary& probe) { return probe.node + "." + probe.port; }

std::vector<std::string> port_names(const std::vector<ProbeSummary>& probes) {
  std::vector<std::string> names;
  for (const ProbeSummary& probe : probes) {
    if (names.empty() || names.back() != port_of(probe)) names.push_back(port_of(probe));
  }
  return names;
}

[[noreturn]] void refuse_port(const std::vector<ProbeSummary>& probes, const std::string& named) {
  const std::vector<std::string> names = port_names(probes);
  std::vector<std::string> near = nearest(named, names);
  if (near.empty())
    near.assign(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(
                                                   std::min<std::size_t>(names.size(), 8)));
  throw WrongUsage("unknown-port", fmt::format("the run recorded no port {}", named),
                   near.empty() ? "it has recorded no port yet" : "it has " + listed(near, "and"));
}

struct Chosen {
  std::string port;
  std::string component;  ///< empty: the port's own choice
};

Chosen chosen_port(const std::vector<ProbeSummary>& probes, const std::string& named) {
  std::vector<std::string> of_node;
  for (const ProbeSummary& probe : probes) {
    if (port_of(probe) == named) return {named, ""};
    if (port_of(probe) + "." + probe.component == named) return {port_of(probe), probe.component};
    if (probe.node == named && (of_node.empty() || of_node.back() != port_of(probe))) {
      of_node.push_back(port_of(probe));
    }
  }
  if (of_node.size() == 1) return {of_node.front(), ""};
  if (of_node.size() > 1) {
    throw WrongUsage("unknown-port", fmt::format("{} has several recorded ports", named),
                     "name one: " + listed(of_node));
  }
  refuse_port(probes, named);
}

/// The component that a port is looked at for.
std::string main_component(const std::vector<ProbeSeries>& components) {
  for (const char* name : {"total", "advantages", "rewards", "log_probs", "values", "returns"}) {
    for (const ProbeSeries& series : components) {
      if (series.probe.component == name) return name;
    }
  }
  return components.front().probe.component;
}

const ProbeSeries& series_of(const PortView& view, const std::string& component) {
  return *std::find_if(
      view.components.begin(), view.components.end(),
      [&](const ProbeSeries& series) { return series.probe.component == component; });
}

std::int64_t chosen_iteration(const PortView& view, std::optional<std::int64_t> at) {
  const std::vector<HistogramRow>& rows = series_of(view, view.component).rows;
  if (!at) return rows.back().iteration;
  const auto found =
      std::lower_bound(rows.begin(), rows.end(), *at,
                       [](const HistogramRow& row, std::int64_t n) { return row.iteration < n; });
  if (found != rows.end() && found->iteration == *at) return *at;
  std::string near;
  if (found != rows.begin()) near = std::to_string(std::prev(found)->iteration);
  if (found != rows.end()) near += (near.empty() ? "" : " and ") + std::to_string(found->iteration);
  throw WrongUsage("unknown-iteration",
                   fmt::format("{} was not recorded at iteration {}", view.port, *at),
                   fmt::format("it was recorded from {} to {}; nearest: {}", rows.front().iteration,
                               rows.back().iteration, near));
}

}  // namespace

PortView read_port(RunReader& reader, const std::string& named, std::optional<std::int64_t> at) {
  const std::vector<ProbeSummary> probes = reader.probes();
  const Chosen chosen = chosen_port(probes, named);
  PortView view;
  view.port = chosen.port;
  for (const ProbeSummary& probe : probes) {
    if (port_of(probe) != chosen.port) continue;
    ProbeSeries series{probe, reader.histograms(probe.node, probe.port, probe.component)};
    if (!series.rows.empty()) view.components.push_back(std::move(series));
  }
  if (view.components.empty()) refuse_port(probes, named);
  view.component = chosen.component.empty() ? main_component(view.components) : chosen.component;
  view.at = chosen_iteration(view, at);
  const ProbeSummary& probe = view.components.front().probe;
  view.at_rows = reader.histograms_at(probe.node, probe.port, view.at);
  SampleFilter filter;
  filter.node = probe.node;
  filter.port = probe.port;
  filter.iteration = view.at;
  filter.limit = 10000;
  view.samples = reader.samples(filter).rows;
  return view;
}

namespace {

struct Sample {
  std::int64_t row;
  Json data;
  double value;  ///< of the component that is drawn; the mean of its tokens where it has several
};

double mean_of(const Json& values) {
  if (values.is_number()) return values.get<double>();
  double sum = 0;
  std::size_t count = 0;
  for (const Json& value : values) {
    if (!value.is_number()) continue;
    sum += value.get<double>();
    ++count;
  }
  return count == 0 ? std::nan("") : sum / static_cast<double>(count);
}

/// Best first; rows without a value are left out.
std::vector<Sample> ranked_samples(const PortView& view) {
  std::vector<Sample> out;
  for (const SampleRow& row : view.samples) {
    Json data = Json::parse(row.data, nullptr, false);
    if (!data.is_object() || data.value("absent", false)) continue;
    const double value =
        data.contains(view.component) ? mean_of(data[view.component]) : std::nan("");
    if (std::isfinite(value)) out.push_back({row.row, std::move(data), value});
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const Sample& a, const Sample& b) { return a.value > b.value; });
  return out;
}

std::string shown_value(const Json& value) {
  if (value.is_string()) return one_line(value.get<std::string>());
  if (value.is_number_integer()) return value.dump();
  if (value.is_number()) return number_text(value.get<double>());
  if (value.is_array())
    return fmt::format("{} over {}", number_text(mean_of(value)), counted(value.size(), "token"));
  return value.dump();
}

std::string sample_text(const Sample& sample, std::size_t width) {
  std::string numbers;
  std::string texts;
  for (const auto& [key, value] : sample.data.items()) {
    if (key == "tokens" || key == "token_texts") continue;
    const bool text = key == "prompt" || key == "completion" || key == "reference";
    if (text) {
      texts += "      " + pad_right(key, 11) +
               cut_text(shown_value(value), width > 40 ? width - 18 : 22) + "\n";
    } else {
      numbers += fmt::format("  {} {}", key, shown_value(value));
    }
  }
  return fmt::format("    row {}:{}\n{}", sample.row,
                     cut_text(numbers, width > 40 ? width - 12 : 28), texts);
}

std::string samples_text(const PortView& view, std::size_t width) {
  constexpr std::size_t kShown = 3;
  const std::vector<Sample> samples = ranked_samples(view);
  if (samples.empty()) return "\nno sampled rows of this iteration\n";
  const std::size_t best = std::min(kShown, (samples.size() + 1) / 2);
  const std::size_t worst = std::min(kShown, samples.size() - best);
  std::string out = fmt::format("\nsampled rows ({} of this iteration were kept)\n  highest {}\n",
                                view.samples.size(), view.component);
  for (std::size_t i = 0; i < best; ++i) out += sample_text(samples[i], width);
  if (worst > 0) out += "  lowest " + view.component + "\n";
  for (std::size_t i = 0; i < worst; ++i)
    out += sample_text(samples[samples.size() - 1 - i], width);
  return out;
}

std::string counts_text(const Distribution& d) {
  std::string out = fmt::format("  {} counted, {} absent", d.count, d.absent);
  if (d.nonfinite > 0) out += fmt::format(", {} not finite", d.nonfinite);
  if (d.count == 0) return out + "\n";
  out += fmt::format("; mean {}, std {}, min {}, max {}\n  quantiles", number_text(d.mean),
                     number_text(d.std), number_text(d.min), number_text(d.max));
  for (std::size_t i = 0; i < quantile_levels.size(); ++i) {
    out += fmt::format("  {:g} % {}", quantile_levels[i] * 100, number_text(d.quantiles[i]));
  }
  return out + "\n";
}

std::string other_components(const PortView& view) {
  std::string out;
  for (const ProbeSeries& series : view.components) {
    if (series.probe.component == view.component) continue;
    const Distribution& first = series.rows.front().distribution;
    const Distribution& last = series.rows.back().distribution;
    out += fmt::format("  {}  mean {} → {}  {}\n", pad_right(series.probe.component, 18),
                       number_text(first.mean), number_text(last.mean),
                       sparkline(means(series.rows), 24));
  }
  return out.empty() ? out
                     : "\nother components; `--port " + view.port + ".NAME` draws one\n" + out;
}

}  // namespace

std::string port_text(const PortView& view, std::size_t width) {
  constexpr std::size_t kMapHeight = 12;
  constexpr std::size_t kBars = 16;
  const std::vector<HistogramRow>& rows = series_of(view, view.component).rows;
  std::string out =
      fmt::format("{} {}\n\n", view.port, view.component) + heat_map(rows, width, kMapHeight);
  out += other_components(view);
  for (const HistogramRow& row : view.at_rows) {
    if (row.component != view.component) continue;
    out += fmt::format("\niteration {}\n", view.at) + counts_text(row.distribution) +
           histogram_bars(row.distribution, width, kBars);
  }
  return out + samples_text(view, width);
}

Json port_json(const PortView& view) {
  Json json = {{"port", view.port}, {"component", view.component}, {"at", view.at}};
  for (const ProbeSeries& series : view.components) {
    Json rows = Json::array();
    for (const HistogramRow& row : series.rows) {
      Json one = {{"iteration", row.iteration}};
      one.update(statistics_json(row.distribution));
      rows.push_back(std::move(one));
    }
    json["components"][series.probe.component] = std::move(rows);
  }
  for (const HistogramRow& row : view.at_rows) {
    Json one = statistics_json(row.distribution);
    one["lo"] = row.distribution.lo;
    one["hi"] = row.distribution.hi;
    one["bins"] = row.distribution.bins;
    json["distributions"][row.component] = std::move(one);
  }
  json["samples"] = Json::array();
  for (const SampleRow& sample : view.samples) {
    Json one = {{"row", sample.row}};
    const Json data = Json::parse(sample.data, nullptr, false);
    if (data.is_object()) one.update(data);
    json["samples"].push_back(std::move(one));
  }
  return json;
}

}  // namespace rewardloom::cli
