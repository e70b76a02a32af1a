#include "engine/cli/node_reference.h"

#include <fmt/format.h>

#include "engine/cli/node_facts.h"
#include "engine/cli/terminal.h"

namespace rewardloom::cli {

std::string family_of(const std::string& id) { return id.substr(0, id.find('.')); }

std::string node_list(const Catalogue& catalogue, const std::string& family, std::size_t width) {
  std::size_t column = 0;
  for (const auto& [id, node] : catalogue.nodes()) column = std::max(column, id.size());
  std::string out;
  std::string before;
  for (const auto& [id, node] : catalogue.nodes()) {
    if (!family.empty() && family_of(id) != family) continue;
    if (family_of(id) != before) {
      before = family_of(id);
      out += (out.empty() ? "" : "\n") + before + "\n";
    }
    const std::size_t room = width > column + 14 ? width - column - 4 : 10;
    out += "  " + pad_right(id, column + 2) + cut_text(node.title, room) + "\n";
  }
  return out;
}

namespace {

using Row = std::vector<std::string>;

/// Columns side by side; the last one is broken into lines.
std::string table(const std::vector<Row>& rows, std::size_t width) {
  constexpr std::size_t kWidestCell = 34;
  std::vector<std::size_t> columns;
  for (const Row& row : rows) {
    columns.resize(std::max(columns.size(), row.size()), 0);
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      columns[i] = std::max(columns[i], std::min(text_width(row[i]), kWidestCell));
    }
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line = "  ";
    std::size_t indent = 2;
    for (std::size_t i = 0; i + 1 < row.size(); ++i) {
      line += pad_right(cut_text(row[i], kWidestCell), columns[i] + 2);
      indent += columns[i] + 2;
    }
    const std::size_t room = width > indent + 24 ? width - indent : 24;
    bool first = true;
    for (const std::string& part : wrapped(row.back(), room)) {
      out += (first ? line : std::string(indent, ' ')) + part + "\n";
      first = false;
    }
  }
  return out;
}

std::string with_notes(const std::string& doc, const std::string& notes) {
  return notes.empty() ? doc : fmt::format("{} ({})", doc, notes);
}

std::string ports_text(const Catalogue& catalogue, const std::vector<PortDeclaration>& ports,
                       const char* heading, std::size_t width) {
  if (ports.empty()) return {};
  std::vector<Row> rows;
  for (const PortDeclaration& port : ports) {
    rows.push_back(
        {port.name, port_type_text(catalogue, port), with_notes(port.doc, port_notes(port))});
  }
  return fmt::format("\n{}\n{}", heading, table(rows, width));
}

std::string parameters_text(const NodeDeclaration& node, std::size_t width) {
  if (node.params.empty()) return {};
  std::vector<Row> rows;
  for (const ParameterDeclaration& parameter : node.params) {
    std::string kind = kind_text(parameter);
    const std::string range = range_text(parameter);
    if (!range.empty()) kind += ", " + range;
    rows.push_back({parameter.name, default_text(parameter), with_notes(parameter.doc, kind)});
    for (const ChoiceDeclaration& choice : parameter.choices) {
      rows.push_back({"", "· " + choice.name, choice.doc});
    }
  }
  return "\nparameters (name, default)\n" + table(rows, width);
}

std::string loss_text(const NodeDeclaration& node, std::size_t width) {
  std::string out;
  std::vector<Row> rows;
  for (const LossArgumentDeclaration& argument : node.loss_arguments) {
    std::string notes = argument.optional ? "optional" : "";
    if (argument.differentiable) notes += notes.empty() ? "differentiable" : ", differentiable";
    rows.push_back({argument.name, "[" + argument.dims + "]", with_notes(argument.doc, notes)});
  }
  if (!rows.empty())
    out += "\nloss arguments, from the optimizer or the input of that name\n" + table(rows, width);
  if (!node.supplies.empty()) out += "\nsupplies to losses: " + listed(node.supplies, "and") + "\n";
  return out;
}

}  // namespace

std::string node_text(const Catalogue& catalogue, const NodeDeclaration& node, std::size_t width) {
  std::string out = node.id + ": " + node.title + "\n";
  if (!node.source.empty()) out += "source: " + node.source + "\n";
  if (!node.doc.empty()) {
    out += "\n";
    for (const std::string& line : wrapped(node.doc, width)) out += line + "\n";
  }
  out += ports_text(catalogue, node.inputs, "inputs", width);
  out += ports_text(catalogue, node.outputs, "outputs", width);
  out += parameters_text(node, width);
  out += loss_text(node, width);
  std::vector<Row> rows;
  for (const PresetDeclaration& preset : node.presets) {
    rows.push_back({preset.name, params_text(preset.params)});
  }
  if (!rows.empty()) out += "\npresets\n" + table(rows, width);
  rows.clear();
  for (const RuleDeclaration& rule : node.rules) {
    rows.push_back({rule.help.empty() ? rule.text : rule.text + ": " + rule.help});
  }
  if (!rows.empty()) out += "\nrefused by the checker\n" + table(rows, width);
  rows.clear();
  for (const std::string& trait : trait_texts(node)) rows.push_back({trait});
  if (!rows.empty()) out += "\ntraits\n" + table(rows, width);
  return out + "\nin a graph\n  " + example_text(node) + "\n";
}

}  // namespace rewardloom::cli
