#include "engine/graph/rules.h"

#include <fmt/format.h>

#include "engine/graph/parameters.h"
#include "engine/graph/regex_syntax.h"

namespace rewardloom {
namespace {

constexpr const char* kBounds[] = {"min", "max", "below"};

/// The parameter that a condition's bound names, or nothing.
std::optional<std::string_view> named_bound(const Json& condition, const char* bound) {
  const auto it = condition.find(bound);
  if (it == condition.end() || !it->is_string()) return std::nullopt;
  return parameter_name(it->get_ref<const std::string&>());
}

bool counts_edges(const Json& condition) {
  return condition.contains("size") && condition["size"].is_object();
}

/// The condition with numbers in place of the parameters and inputs that it names.
Json resolved(const RuledNode& node, const Json& condition) {
  if (!condition.is_object()) return condition;
  Json out = condition;
  for (const char* const bound : kBounds) {
    const auto name = named_bound(condition, bound);
    if (!name) continue;
    const Json& value = effective_parameter(node.type, node.params, *name);
    if (value.is_number()) {
      out[bound] = value;
    } else {
      out.erase(bound);
    }
  }
  if (counts_edges(condition)) {
    out["size"] = node.edges(condition["size"].at("edges").get<std::string>());
  }
  return out;
}

bool holds(const RuledNode& node, const std::string& name, const Json& condition) {
  if (condition.is_object() && condition.contains("connected")) {
    return (node.edges(name) > 0) == condition["connected"].get<bool>();
  }
  return satisfies(effective_parameter(node.type, node.params, name), resolved(node, condition));
}

bool asks_for_edges(const Json& conditions) {
  for (const auto& [name, condition] : conditions.items()) {
    if (!condition.is_object()) continue;
    if (condition.contains("connected") || counts_edges(condition)) return true;
  }
  return false;
}

/// A "$name" that could not be replaced, which is reported as such.
bool is_unknown(const RuledNode& node, const std::string& name) {
  const Json& value = effective_parameter(node.type, node.params, name);
  return value.is_string() && parameter_name(value.get_ref<const std::string&>());
}

/// What the rule's text cannot say beforehand: the values that do not go together.
std::string both_sides(const RuledNode& node, const std::string& place, const Json& condition) {
  const Json& value = effective_parameter(node.type, node.params, place);
  if (!condition.is_object()) return {};
  if (counts_edges(condition) && value.is_array()) {
    return fmt::format("{} has {}, {} has {}", place, value.size(),
                       condition["size"]["edges"].get<std::string>(),
                       resolved(node, condition)["size"].dump());
  }
  for (const char* const bound : kBounds) {
    if (const auto name = named_bound(condition, bound)) {
      return fmt::format("{} is {}, {} is {}", place, value.dump(), *name,
                         effective_parameter(node.type, node.params, *name).dump());
    }
  }
  if (condition.contains("syntax") && value.is_string()) {
    return regex_fault(value.get_ref<const std::string&>()).value_or("");
  }
  return {};
}

RuleFault fault_of_rule(const RuledNode& node, const RuleDeclaration& rule) {
  RuleFault fault{{}, rule.text, rule.help};
  for (const auto& [name, condition] : rule.require.items()) {
    if (fault.place.empty() && !holds(node, name, condition)) fault.place = name;
  }
  const Json condition = rule.require.value(fault.place, Json());
  if (condition.is_object() && condition.contains("entries")) {
    const Json& value = effective_parameter(node.type, node.params, fault.place);
    if (const auto entry = entry_fault(value, condition)) {
      fault.text = fmt::format("{}: {}", rule.text, entry->text);
      if (!entry->help.empty()) fault.help = entry->help;
    }
    return fault;
  }
  const std::string sides = both_sides(node, fault.place, condition);
  if (!sides.empty()) fault.text = fmt::format("{}: {}", rule.text, sides);
  return fault;
}

}  // namespace

bool all_hold(const RuledNode& node, const Json& conditions) {
  for (const auto& [name, condition] : conditions.items()) {
    if (!holds(node, name, condition)) return false;
  }
  return true;
}

std::vector<RuleFault> rule_faults(const RuledNode& node) {
  std::vector<RuleFault> faults;
  for (const RuleDeclaration& rule : node.type.rules) {
    if (!node.edges && (asks_for_edges(rule.when) || asks_for_edges(rule.require))) continue;
    if (!all_hold(node, rule.when) || all_hold(node, rule.require)) continue;
    RuleFault fault = fault_of_rule(node, rule);
    if (!is_unknown(node, fault.place)) faults.push_back(std::move(fault));
  }
  return faults;
}

}  // namespace rewardloom
