#include "engine/cli/run_summary.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/cli/terminal.h"

namespace rewardloom::cli {

std::string alarm_counts(const std::map<std::string, std::size_t>& alarms) {
  std::string text;
  for (const auto& [code, count] : alarms) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, code);
  }
  return text.empty() ? "none" : text;
}

std::string slowest_nodes(const std::vector<NodeRow>& nodes, std::size_t limit) {
  // A container's time holds that of the nodes inside it, whose names begin with its own.
  const auto inside = [](const NodeRow& row, const NodeRow& container) {
    return row.node.starts_with(container.node + "/") || row.node.starts_with(container.node + "[");
  };
  std::vector<NodeRow> rows;
  double total = 0;
  for (const NodeRow& row : nodes) {
    const bool container = std::any_of(nodes.begin(), nodes.end(),
                                       [&](const NodeRow& other) { return inside(other, row); });
    if (container) continue;
    rows.push_back(row);
    total += row.seconds;
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const NodeRow& a, const NodeRow& b) { return a.seconds > b.seconds; });
  std::string text;
  for (std::size_t i = 0; i < rows.size() && i < limit && total > 0; ++i) {
    const double share = 100 * rows[i].seconds / total;
    if (share < 0.5) break;
    text += fmt::format("{}{} {:.0f} %", text.empty() ? "" : ", ", rows[i].node, share);
  }
  return text;
}

namespace {

std::string heading(const Run& run, RunEnd end, const SummaryFacts& facts) {
  const auto done = static_cast<std::size_t>(facts.iterations);
  std::string text = fmt::format("{}: {} in {}", to_string(end), counted(done, "iteration"),
                                 duration_text(facts.seconds));
  if (done > 1 && facts.seconds > 0) {
    text += fmt::format(" ({} per second)", number_text(static_cast<double>(done) / facts.seconds));
  }
  const std::int64_t completed = run.info().completed;
  if (completed != facts.iterations || completed < run.iterations()) {
    text += fmt::format("; {} of {} are complete", completed, run.iterations());
  }
  return text + "\n";
}

}  // namespace

std::string run_summary(const Run& run, RunEnd end, const SummaryFacts& facts) {
  std::string out = heading(run, end, facts);
  out += facts.branches;
  std::size_t column = 0;
  for (const KeyMetric& metric : facts.metrics) column = std::max(column, text_width(metric.name));
  for (const KeyMetric& metric : facts.metrics) {
    out += fmt::format("  {}  {} → {}\n", pad_right(metric.name, column),
                       pad_left(number_text(metric.first), 8), number_text(metric.last));
  }
  out += "alarms:      " + alarm_counts(facts.alarms) + "\n";
  const std::string slowest = slowest_nodes(facts.nodes, 4);
  if (!slowest.empty()) out += "time:        " + slowest + "\n";
  const std::string folder = shown_path(run.folder());
  out += "run folder:  " + folder + "\n";
  out += "look at it:  rewardloom inspect " + folder + "\n";
  if (end != RunEnd::done) out += "go on:       " + resume_text(run) + "\n";
  return out;
}

}  // namespace rewardloom::cli
