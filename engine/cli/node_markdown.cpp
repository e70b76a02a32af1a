#include <fmt/format.h>

#include "engine/cli/node_facts.h"
#include "engine/cli/node_reference.h"

namespace rewardloom::cli {
namespace {

/// Text for a cell of a table.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') {
      out += "\\|";
    } else {
      out += c == '\n' ? ' ' : c;
    }
  }
  return out;
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + cell(text) + "`"; }

std::string ports_table(const Catalogue& catalogue, const char* heading,
                        const std::vector<PortDeclaration>& ports) {
  if (ports.empty()) return {};
  std::string out = fmt::format("\n| {} | type | |\n|---|---|---|\n", heading);
  for (const PortDeclaration& port : ports) {
    const std::string notes = port_notes(port);
    out +=
        fmt::format("| {} | {} | {}{} |\n", code(port.name), code(port_type_text(catalogue, port)),
                    cell(port.doc), notes.empty() ? "" : " *(" + cell(notes) + ")*");
  }
  return out;
}

std::string parameters_table(const NodeDeclaration& node) {
  if (node.params.empty()) return {};
  std::string out = "\n| parameter | default | kind, range | |\n|---|---|---|---|\n";
  for (const ParameterDeclaration& parameter : node.params) {
    std::string doc = cell(parameter.doc);
    for (const ChoiceDeclaration& choice : parameter.choices) {
      doc += fmt::format("<br>{}: {}", code(choice.name), cell(choice.doc));
    }
    const std::string range = range_text(parameter);
    out += fmt::format("| {} | {} | {}{} | {} |\n", code(parameter.name),
                       code(default_text(parameter)), kind_text(parameter),
                       range.empty() ? "" : ", " + range, doc);
  }
  return out;
}

std::string arguments_table(const NodeDeclaration& node) {
  if (node.loss_arguments.empty()) return {};
  std::string out = "\n| loss argument | sizes | |\n|---|---|---|\n";
  for (const LossArgumentDeclaration& argument : node.loss_arguments) {
    out +=
        fmt::format("| {} | {} | {}{}{} |\n", code(argument.name), code("[" + argument.dims + "]"),
                    cell(argument.doc), argument.optional ? " *(optional)*" : "",
                    argument.differentiable ? " *(differentiable)*" : "");
  }
  return out;
}

}  // namespace

std::string node_markdown(const Catalogue& catalogue, const NodeDeclaration& node) {
  std::string out = fmt::format("### {}\n\n**{}**", node.id, node.title);
  if (node.source.starts_with("arXiv:")) {
    out += fmt::format(" ([{0}](https://arxiv.org/abs/{1}))", node.source, node.source.substr(6));
  } else if (!node.source.empty()) {
    out += " (" + node.source + ")";
  }
  out += "\n";
  if (!node.doc.empty()) out += "\n" + node.doc + "\n";
  out += ports_table(catalogue, "input", node.inputs);
  out += ports_table(catalogue, "output", node.outputs);
  out += parameters_table(node);
  out += arguments_table(node);
  if (!node.presets.empty()) out += "\n| preset | sets |\n|---|---|\n";
  for (const PresetDeclaration& preset : node.presets) {
    out += fmt::format("| {} | {} |\n", code(preset.name), cell(params_text(preset.params)));
  }
  return out + "\n```json\n" + example_text(node) + "\n```\n";
}

std::string reference_markdown(const Catalogue& catalogue) {
  std::string out = "# Node reference\n";
  std::string family;
  for (const auto& [id, node] : catalogue.nodes()) {
    if (family_of(id) != family) {
      family = family_of(id);
      out += fmt::format("\n**{}**\n\n", family);
    }
    std::string anchor = id;
    std::erase(anchor, '.');
    out += fmt::format("- [{}](#{}): {}\n", id, anchor, node.title);
  }
  family.clear();
  for (const auto& [id, node] : catalogue.nodes()) {
    if (family_of(id) != family) {
      family = family_of(id);
      out += fmt::format("\n## {}\n", family);
    }
    out += "\n" + node_markdown(catalogue, node);
  }
  return out;
}

}  // namespace rewardloom::cli
