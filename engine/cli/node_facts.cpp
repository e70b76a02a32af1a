#include "engine/cli/node_facts.h"

#include <fmt/format.h>

#include "engine/graph/json_text.h"
#include "engine/graph/parameters.h"

namespace rewardloom::cli {

std::string port_type_text(const Catalogue& catalogue, const PortDeclaration& port) {
  std::string dims = port.dims;
  const PortTypeDeclaration* const type = catalogue.type(port.type);
  if (dims.empty() && type != nullptr) dims = type->dims;
  return dims.empty() ? port.type : fmt::format("{} [{}]", port.type, dims);
}

namespace {

void add_note(std::string& notes, const std::string& note) {
  if (!note.empty()) notes += (notes.empty() ? "" : "; ") + note;
}

/// What an input needs of what comes in, in words; see the facts in engine/graph/README.md.
std::string need_text(const std::string& fact, const Json& condition) {
  if (condition.is_object()) {
    if (const auto bad = condition.find("not"); bad != condition.end()) {
      return *bad == "normalised" ? "not normalised twice"
                                  : fmt::format("not {}", bad->get<std::string>());
    }
    if (const auto alike = condition.find("alike"); alike != condition.end()) {
      return fmt::format("all {} or none", alike->get<std::string>());
    }
  }
  if (condition.is_string()) {
    const std::string other = condition.get<std::string>();
    if (fact == "scorer_of") return fmt::format("of the reward model that scored `{}`", other);
    if (fact == "prompts_of") return fmt::format("of the prompts that `{}` are of", other);
  }
  const std::string wanted = condition_text(condition);
  return wanted.empty() ? fact : fmt::format("{} {}", fact, wanted);
}

}  // namespace

std::string port_notes(const PortDeclaration& port) {
  std::string notes;
  if (port.access == Access::read) add_note(notes, "read");
  if (port.access == Access::write) add_note(notes, "changed");
  if (port.variadic) {
    add_note(notes, port.at_least == 0   ? "any number of edges"
                    : port.at_least == 1 ? "one or more edges"
                                         : fmt::format("at least {} edges", port.at_least));
  } else if (port.optional) {
    add_note(notes, "optional");
  }
  for (const auto& [fact, condition] : port.needs.items()) {
    add_note(notes, need_text(fact, condition));
  }
  if (!port.same_as.empty()) add_note(notes, "the handle of " + port.same_as);
  if (port.gold) add_note(notes, "gold: for measuring only");
  return notes;
}

std::string kind_text(const ParameterDeclaration& parameter) {
  std::string text(to_string(parameter.kind));
  if (parameter.kind == ParameterKind::list)
    text += fmt::format(" of {}", to_string(parameter.element));
  if (parameter.path) text = "path";
  if (parameter.nullable && parameter.kind != ParameterKind::object) text += " or null";
  return text;
}

std::string default_text(const ParameterDeclaration& parameter) {
  if (parameter.required) return "required";
  if (parameter.default_value.is_string()) return parameter.default_value.get<std::string>();
  return JsonLayout({}).compact(parameter.default_value);
}

std::string range_text(const ParameterDeclaration& parameter) {
  const auto number = [](double value) { return fmt::format("{:g}", value); };
  std::string text;
  if (parameter.min && parameter.max && !parameter.exclusive_min && !parameter.exclusive_max) {
    text = number(*parameter.min) + " to " + number(*parameter.max);
  } else {
    if (parameter.min) {
      text = (parameter.exclusive_min ? "above " : "at least ") + number(*parameter.min);
    }
    if (parameter.max) {
      text += (text.empty() ? "" : ", ") +
              ((parameter.exclusive_max ? "below " : "at most ") + number(*parameter.max));
    }
  }
  if (!parameter.unit.empty()) text += (text.empty() ? "in " : ", in ") + parameter.unit;
  return text;
}

std::string params_text(const Json& params) {
  std::string text;
  for (const auto& [name, value] : params.items()) {
    const std::string shown =
        value.is_string() ? value.get<std::string>() : JsonLayout({}).compact(value);
    text += (text.empty() ? "" : ", ") + name + " " + shown;
  }
  return text;
}

std::vector<std::string> trait_texts(const NodeDeclaration& node) {
  std::vector<std::string> texts;
  if (node.traits.trains) texts.push_back("trains: gold rewards must not reach it");
  if (node.traits.evaluates) texts.push_back("measures: gold rewards may end here");
  if (node.traits.converter) texts.push_back("a converter: offered where its types mend an edge");
  if (node.traits.pure) texts.push_back("pure: fires once while its inputs stay the same");
  if (!node.states.empty()) {
    std::string names;
    for (const std::string& state : node.states) names += (names.empty() ? "" : ", ") + state;
    texts.push_back("keeps state in checkpoints: " + names);
  }
  return texts;
}

std::string example_text(const NodeDeclaration& node) {
  Json example = {{"type", node.id}};
  for (const PortDeclaration& port : node.inputs) {
    if (port.optional) continue;
    const std::string source = "NODE." + port.name;
    example["inputs"][port.name] = port.variadic ? Json::array({source}) : Json(source);
  }
  for (const ParameterDeclaration& parameter : node.params) {
    if (parameter.required) example["params"][parameter.name] = "…";
  }
  const std::string name = node.id.substr(node.id.find('.') + 1);
  return json_quoted(name) + ": " + JsonLayout({}).compact(example);
}

}  // namespace rewardloom::cli
