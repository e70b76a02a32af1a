// What a node type says of itself, as plain data: the checker, the command line, the schema, the
// node reference and the editor all read this and nothing else. No LibTorch.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom {

/// How a node uses a port: the immutable value, or the state behind a handle.
enum class Access { value, read, write };

/// An input or output port.
struct PortDeclaration {
  std::string name;
  std::string type;  ///< a port type's name, e.g. "Rewards"
  std::string doc;
  std::string dims;  ///< symbolic sizes, e.g. "N,T"; empty: those of the port type
  Access access = Access::value;
  bool optional = false;
  bool variadic = false;
  int at_least = 1;             ///< variadic inputs: how many edges must arrive
  std::string same_as;          ///< outputs: the input whose handle this output passes on
  bool gold = false;            ///< outputs: a gold reward, for measuring only
  Json facts = Json::object();  ///< outputs: what is known before the run, e.g. {"group_size":
                                ///< "$group_size"}
  Json needs =
      Json::object();  ///< inputs: what those facts must satisfy, e.g. {"group_size": {"min": 2}}
};

enum class ParameterKind { boolean, integer, number, text, choice, list, object };

/// One value of an enumeration, with the sentence that explains it.
struct ChoiceDeclaration {
  std::string name;
  std::string doc;
};

/// A named, typed, validated setting.
struct ParameterDeclaration {
  std::string name;
  std::string doc;
  ParameterKind kind = ParameterKind::text;
  Json default_value;  ///< null where `required` or where null is the default
  bool required = false;
  bool nullable = false;
  std::optional<double> min;
  std::optional<double> max;
  bool exclusive_min = false;
  bool exclusive_max = false;
  std::string unit;
  std::vector<ChoiceDeclaration> choices;
  ParameterKind element = ParameterKind::number;  ///< lists: the kind of an element
  bool path =
      false;  ///< text: a file or folder, relative to the graph file or the working directory
};

/// An argument of a loss, handed in by the optimizer for each micro-batch (or carried by the term).
struct LossArgumentDeclaration {
  std::string name;
  std::string dims;
  std::string doc;
  bool optional = false;
  bool differentiable = false;
};

/// An own rule of a node type: where all of `when` hold, all of `require` must.
/// Both are objects {parameter: value | [values] | {"min": x, "max": y} | {"set": bool}};
/// a name that is an input port may only be tested with {"connected": bool}.
struct RuleDeclaration {
  Json when = Json::object();
  Json require = Json::object();
  std::string text;
  std::string help;
};

/// A named set of parameter values ("as verl does it"); explicit parameters win.
struct PresetDeclaration {
  std::string name;
  Json params;
};

/// A parameter of a container that names one or more subgraphs. Its value is a text (one body), or
/// a list of texts or of objects {"body": NAME, "with": {promoted parameter: value}, ...} (one body
/// per entry). With `vary` and `values`, a body is compiled once per entry of the list parameter
/// called `values`, and in each the promoted parameter whose name stands in the text parameter
/// called `vary` takes that entry; if that text is empty or null, all copies are alike.
struct BodyDeclaration {
  std::string parameter;
  std::string vary;
  std::string values;
};

/// Facts about a node type that the planner uses.
struct Traits {
  bool pure = false;  ///< outputs depend on inputs and parameters only: cached while those stay
  bool effect =
      false;  ///< worth running even if nobody reads its outputs (training, saving, metrics)
  bool converter =
      false;  ///< offered by the checker where its input and output types would mend an edge
  bool trains =
      false;  ///< an optimizer: gold rewards must not reach it, a loss must reach its model
  bool evaluates = false;  ///< measures: gold rewards may end here
};

/// A node type. Containers have `bodies`: parameters that name subgraphs.
struct NodeDeclaration {
  std::string id;
  std::string title;
  std::string source;  ///< paper or reference, e.g. "arXiv:2402.03300"
  std::string doc;     ///< a paragraph or more: formula, shapes, remarks
  std::vector<PortDeclaration> inputs;
  std::vector<PortDeclaration> outputs;
  std::vector<ParameterDeclaration> params;
  std::vector<std::string> states;
  std::vector<LossArgumentDeclaration> loss_arguments;
  std::vector<std::string> supplies;    ///< optimizers: loss arguments that they hand in
  std::vector<BodyDeclaration> bodies;  ///< containers: the parameters that name subgraphs
  std::vector<RuleDeclaration> rules;
  std::vector<PresetDeclaration> presets;
  std::vector<std::string> synonyms;
  Traits traits;

  const PortDeclaration* input(std::string_view name) const;
  const PortDeclaration* output(std::string_view name) const;
  const ParameterDeclaration* param(std::string_view name) const;
};

/// A port type as data.
struct PortTypeDeclaration {
  std::string name;
  std::string doc;
  std::string dims;     ///< e.g. "N,T"; empty where it has none
  bool handle = false;  ///< names state that lives across iterations
  bool probe = false;   ///< recorded by default
  std::vector<std::string> fields;
};

Json to_json(const NodeDeclaration& node);
NodeDeclaration node_from_json(const Json& json);
Json to_json(const PortTypeDeclaration& type);
PortTypeDeclaration port_type_from_json(const Json& json);
std::string_view to_string(ParameterKind kind);
std::string_view to_string(Access access);

/// What is wrong with `value` for this parameter ("-0.1 is below the minimum 0"), or nothing.
std::optional<std::string> fault_of(const ParameterDeclaration& parameter, const Json& value);
/// The code of that fault: param-type, param-range or param-choice.
std::string fault_code(const ParameterDeclaration& parameter, const Json& value);

}  // namespace rewardloom
