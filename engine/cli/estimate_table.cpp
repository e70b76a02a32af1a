#include "engine/cli/estimate_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "engine/cli/terminal.h"

namespace rewardloom::cli {
namespace {

using Cells = std::vector<std::string>;

std::string flop_text(double flop) {
  if (flop <= 0) return "";
  return flop < 1e9    ? fmt::format("{:.3g} M", flop / 1e6)
         : flop < 1e12 ? fmt::format("{:.3g} G", flop / 1e9)
                       : fmt::format("{:.3g} T", flop / 1e12);
}

std::string blank_or_bytes(double bytes) { return bytes <= 0 ? "" : bytes_text(bytes); }

std::string seconds_text(const NodeEstimate& node) {
  if (node.flop <= 0) return "";
  if (std::isnan(node.seconds)) return "not known";
  return node.seconds < 1 ? fmt::format("{:.3g} ms", 1000 * node.seconds)
                          : duration_text(node.seconds);
}

Cells row_of(const NodeEstimate& node) {
  const NodeCost& c = node.cost;
  if (!node.problem.empty()) return {node.node, "not known: " + node.problem};
  return {node.node,
          c.parameters > 0 ? fmt::format("{}", c.parameters) : "",
          blank_or_bytes(c.weights),
          blank_or_bytes(c.copies),
          blank_or_bytes(c.optimizer),
          blank_or_bytes(c.gradients),
          blank_or_bytes(c.activations),
          blank_or_bytes(c.cache),
          blank_or_bytes(c.logits),
          c.micro_batch > 0 ? fmt::format("{}", c.micro_batch) : "",
          flop_text(node.flop),
          seconds_text(node),
          node.firings == 1 ? "" : fmt::format("{:.3g}", node.firings)};
}

std::string laid_out(const std::vector<Cells>& rows) {
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const Cells& row : rows) {
    if (row.size() != rows[0].size()) continue;
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], text_width(row[i]));
  }
  std::string out;
  for (const Cells& row : rows) {
    std::string line = pad_right(row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) {
      const bool whole = row.size() == rows[0].size();
      line += "  " + (whole ? pad_left(row[i], widths[i]) : row[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

Json json_of(const NodeEstimate& node) {
  const NodeCost& c = node.cost;
  Json json{
      {"node", node.node},          {"type", node.type},        {"device", node.device},
      {"parameters", c.parameters}, {"weights", c.weights},     {"copies", c.copies},
      {"optimizer", c.optimizer},   {"gradients", c.gradients}, {"activations", c.activations},
      {"cache", c.cache},           {"logits", c.logits},       {"micro_batch", c.micro_batch},
      {"flop", node.flop},          {"firings", node.firings}};
  json["seconds"] = std::isnan(node.seconds) ? Json() : Json(node.seconds);
  if (!node.problem.empty()) json["problem"] = node.problem;
  return json;
}

}  // namespace

std::string bytes_text(double bytes) {
  static constexpr std::array<const char*, 5> units{"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < units.size()) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} {}", bytes, units[unit])
                   : fmt::format("{:.3g} {}", bytes, units[unit]);
}

std::string estimate_table(const GraphEstimate& estimate) {
  std::vector<Cells> rows{{"node", "parameters", "weights", "copies", "optimizer", "gradients",
                           "activations", "KV cache", "logits", "rows/pass", "FLOP", "time",
                           "per iteration"}};
  for (const NodeEstimate& node : estimate.nodes) rows.push_back(row_of(node));
  std::string out = laid_out(rows);
  out += fmt::format(
      "memory: {} at most: {} of the program, {} kept, {} while nodes fire, {} for a checkpoint; {} "
      "available\n",
      bytes_text(estimate.peak()), bytes_text(estimate.program), bytes_text(estimate.kept),
      bytes_text(estimate.transient), bytes_text(estimate.checkpoint),
      bytes_text(estimate.available));
  const auto unknown = std::count_if(
      estimate.nodes.begin(), estimate.nodes.end(),
      [](const NodeEstimate& node) { return std::isnan(node.seconds) || !node.problem.empty(); });
  out += fmt::format(
      "time: {:.3g} s of one processor per iteration for passes through models, {}FLOP, at the rate of "
      "this machine; answers as long as they may be{}\n",
      estimate.seconds, estimate.flop > 0 ? flop_text(estimate.flop) : "0 ",
      unknown == 0 ? "" : fmt::format("; without {}", counted(unknown, "node")));
  return out;
}

std::string estimate_lines(const GraphEstimate& estimate) {
  std::string out;
  for (const NodeEstimate& node : estimate.nodes) out += json_of(node).dump() + "\n";
  return out +
         Json({{"program", estimate.program},
               {"kept", estimate.kept},
               {"transient", estimate.transient},
               {"checkpoint", estimate.checkpoint},
               {"peak", estimate.peak()},
               {"available", estimate.available},
               {"flop", estimate.flop},
               {"seconds", estimate.seconds}})
             .dump() +
         "\n";
}

std::optional<Problem> memory_problem(const GraphEstimate& estimate, const std::string& file) {
  if (estimate.available <= 0 || estimate.peak() <= estimate.available) return std::nullopt;
  const auto largest = std::max_element(
      estimate.nodes.begin(), estimate.nodes.end(), [](const auto& a, const auto& b) {
        return a.cost.kept() + a.cost.transient() < b.cost.kept() + b.cost.transient();
      });
  return Problem{
      Severity::warning,
      "memory",
      {file, largest == estimate.nodes.end() ? "" : largest->node, ""},
      fmt::format("a run takes about {}, {} are available", bytes_text(estimate.peak()),
                  bytes_text(estimate.available)),
      "lower placement.micro_batch, train adapters (lora), or set gradient_checkpointing",
      {}};
}

}  // namespace rewardloom::cli
