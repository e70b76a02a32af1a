// What "$name" stands for, and which values a node's parameters have in the end.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/declaration.h"

namespace rewardloom {

/// The NAME of a text "$NAME", or nothing: "$$x" is the text "$x", and "$x^2$" is just a text.
std::optional<std::string_view> parameter_name(std::string_view text);
/// Whether `value` holds "$NAME" or "$$" anywhere.
bool has_substitutions(const Json& value);
/// `value` with every "$NAME" replaced, in lists and objects too. Names that `parameters` lacks
/// stay as they are and are added to `missing`; those that it has are added to `used`.
Json substitute(const Json& value, const Json& parameters,
                std::vector<std::string>* missing = nullptr,
                std::vector<std::string>* used = nullptr);

/// The value that parameter `name` has: given, else from the preset that `given` names, else the
/// default; null where there is none.
const Json& effective_parameter(const NodeDeclaration& type, const Json& given,
                                std::string_view name);
/// All parameters of the declaration with their values.
Json effective_parameters(const NodeDeclaration& type, const Json& given);

/// A value as a graph file holds it, so that substitute() gives it back: "$x" is written "$$x".
Json as_written(const Json& value);

/// Whether `value` satisfies a condition of rules and needs: a value, a list of allowed values,
/// {"min": x, "max": y, "below": z, "whole": true} for numbers, {"set": bool}, where null, "" and
/// [] are not set, {"size": n, "items": condition} for lists, {"syntax": "regex"} for texts, or,
/// for objects and null, {"entries": {name: condition, {} for any value}, "multiples": [[name, name
/// of a divisor]]}.
bool satisfies(const Json& value, const Json& condition);
/// What keeps an object from satisfying a condition with "entries": the text and the help.
struct EntryFault {
  std::string text;
  std::string help;
};
std::optional<EntryFault> entry_fault(const Json& value, const Json& condition);
/// The condition in words: "at least 2", "one of a, b", "8".
std::string condition_text(const Json& condition);

}  // namespace rewardloom
