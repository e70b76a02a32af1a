// The node API: ports and parameters are members, declared once. A node is const while it runs;
// values live in the Step, state in the run.
#pragma once
#include <array>
#include <concepts>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "engine/core/declaration.h"
#include "engine/core/port_types.h"
#include "engine/core/problem.h"

namespace rewardloom {

class Step;
class ParameterBase;

/// Base of all nodes. Members register themselves while the node is constructed.
class Node : public std::enable_shared_from_this<Node> {
 public:
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Computes the outputs of one firing. Called from several threads at once for different firings.
  virtual void run(Step& step) const = 0;

  const NodeDeclaration& declaration() const { return declaration_; }
  /// Sets the parameters; presets first, explicit ones win. Throws Failure for what does not fit.
  void configure(const Json& params);

 protected:
  Node();
  NodeDeclaration declaration_;

 private:
  friend class ParameterBase;
  friend class Registry;
  friend struct Declare;
  std::vector<ParameterBase*> parameters_;
};

/// Gives members access to the declaration of the node that holds them.
struct Declare {
  static NodeDeclaration& of(Node* node) { return node->declaration_; }
};

/// Options of an input: `dims` refines the port type's symbolic sizes, `needs` constrains facts.
struct InputOptions {
  const char* dims = "";
  Json needs = Json::object();
};
/// Options of an output: see PortDeclaration.
struct OutputOptions {
  const char* dims = "";
  const char* same_as = "";
  bool gold = false;
  Json facts = Json::object();
};

// Whatever a member of a node does when the node is made is compiled once, in node.cpp: these
// headers are read by every node.
namespace detail {
struct InputKind {
  Access access = Access::value;
  bool optional = false;
  bool variadic = false;
  int at_least = 1;
};
std::size_t add_input(Node* node, const PortType& type, const char* name, const char* doc,
                      const InputOptions& options, InputKind kind);
std::size_t add_output(Node* node, const PortType& type, const char* name, const char* doc,
                       const OutputOptions& options);
void add_state(Node* node, const char* name);
const InputOptions& plain_input();
const OutputOptions& plain_output();
}  // namespace detail

/// A required value: `step[port]` is `const T&`.
template <class T>
struct Input {
  Input(Node* node, const char* name, const char* doc,
        const InputOptions& options = detail::plain_input())
      : index(detail::add_input(node, PortTraits<T>::type(), name, doc, options, {})) {}
  const std::size_t index;
};

/// A value that may be missing: `step[port]` is `const T*`, null when not connected.
template <class T>
struct Optional {
  Optional(Node* node, const char* name, const char* doc,
           const InputOptions& options = detail::plain_input())
      : index(detail::add_input(node, PortTraits<T>::type(), name, doc, options,
                                {.optional = true})) {}
  const std::size_t index;
};

/// Any number of edges: `step[port]` is a list of `const T*`.
template <class T>
struct Inputs {
  Inputs(Node* node, const char* name, const char* doc, int at_least = 1,
         const InputOptions& options = detail::plain_input())
      : index(detail::add_input(
            node, PortTraits<T>::type(), name, doc, options,
            {.optional = at_least == 0, .variadic = true, .at_least = at_least})) {}
  const std::size_t index;
};

/// The state behind a handle, to be read: `step.read<Model>(port)`.
template <class H>
struct Reads {
  Reads(Node* node, const char* name, const char* doc, bool optional = false)
      : index(detail::add_input(node, PortTraits<H>::type(), name, doc, detail::plain_input(),
                                {.access = Access::read, .optional = optional})) {}
  const std::size_t index;
};

/// The state behind a handle, to be changed: `step.write<Model>(port)`.
template <class H>
struct Writes {
  Writes(Node* node, const char* name, const char* doc)
      : index(detail::add_input(node, PortTraits<H>::type(), name, doc, detail::plain_input(),
                                {.access = Access::write})) {}
  const std::size_t index;
};

/// A result: `step[port] = T{...}`.
template <class T>
struct Output {
  Output(Node* node, const char* name, const char* doc,
         const OutputOptions& options = detail::plain_output())
      : index(detail::add_output(node, PortTraits<T>::type(), name, doc, options)) {}
  const std::size_t index;
};

/// Facts about the node type for the planner; see Traits.
struct TraitsMember {
  TraitsMember(Node* node, const Traits& traits);
};
/// A paragraph or more: formula, shapes, remarks. Shown by `rewardloom nodes TYPE`.
struct Doc {
  Doc(Node* node, const char* text);
};
/// Words under which the node is found besides its title.
struct Synonyms {
  Synonyms(Node* node, std::initializer_list<const char*> words);
};
/// See RuleDeclaration.
struct Rule {
  Rule(Node* node, const RuleDeclaration& rule);
};
/// A named set of parameter values; needs a parameter called `preset` (see PresetParam).
struct Preset {
  Preset(Node* node, const char* name, const Json& params);
};
/// The loss arguments that an optimizer hands in.
struct Supplies {
  Supplies(Node* node, std::initializer_list<const char*> names);
};

/// State of the node that lives across iterations and is checkpointed: `step[state]` is `T&`.
/// T has `void save(Package&) const` and `void load(const Package&)`.
template <class T>
struct State {
  State(Node* node, const char* name_) : name(name_) { detail::add_state(node, name_); }
  const char* const name;
};

// ---- parameters ----

/// An enumeration value with its name and sentence; each enumeration that is a parameter has
/// `constexpr auto choices(E)` beside it, returning an array of these.
template <class E>
struct Choice {
  E value;
  const char* name;
  const char* doc;
};

struct ParamOptions {
  std::optional<double> min{};
  std::optional<double> max{};
  bool exclusive_min = false;
  bool exclusive_max = false;
  const char* unit = "";
  bool path = false;
};

struct ChoiceText {
  const char* name;
  const char* doc;
};

/// What a parameter's C++ type says of it.
struct ParameterShape {
  ParameterKind kind = ParameterKind::text;
  ParameterKind element = ParameterKind::number;
  bool nullable = false;
  const ChoiceText* choices = nullptr;
  std::size_t choice_count = 0;
};

class ParameterBase {
 public:
  ParameterBase(const ParameterBase&) = delete;
  ParameterBase& operator=(const ParameterBase&) = delete;
  virtual ~ParameterBase();
  const ParameterDeclaration& declaration() const;
  /// Whether the graph (not the default or a preset) gave the value.
  bool is_given() const { return given_; }

 protected:
  /// `value`: the default, or null where the parameter is required.
  ParameterBase(Node* node, const char* name, const char* doc, const ParameterShape& shape,
                const ParamOptions& options, const Json* value);
  virtual void assign(const Json& value) = 0;

 private:
  friend class Node;
  Node* node_;
  std::size_t index_;
  bool given_ = false;
};

namespace detail {
template <class T>
struct ParameterType;
template <>
struct ParameterType<bool> {
  static constexpr ParameterKind kind = ParameterKind::boolean;
};
template <std::integral T>
struct ParameterType<T> {
  static constexpr ParameterKind kind = ParameterKind::integer;
};
template <std::floating_point T>
struct ParameterType<T> {
  static constexpr ParameterKind kind = ParameterKind::number;
};
template <>
struct ParameterType<std::string> {
  static constexpr ParameterKind kind = ParameterKind::text;
};
template <>
struct ParameterType<Json> {
  static constexpr ParameterKind kind = ParameterKind::object;
};
template <class T>
requires std::is_enum_v<T>
struct ParameterType<T> {
  static constexpr ParameterKind kind = ParameterKind::choice;
};
template <class T>
struct ParameterType<std::vector<T>> {
  static constexpr ParameterKind kind = ParameterKind::list;
  static constexpr ParameterKind element = ParameterType<T>::kind;
};

template <class T>
struct Unwrapped {
  using type = T;
  static constexpr bool nullable = false;
};
template <class T>
struct Unwrapped<std::optional<T>> {
  using type = T;
  static constexpr bool nullable = true;
};

template <class E>
constexpr auto choice_texts() {
  constexpr auto all = choices(E{});
  std::array<ChoiceText, all.size()> texts{};
  for (std::size_t i = 0; i < all.size(); ++i) texts[i] = {all[i].name, all[i].doc};
  return texts;
}
template <class E>
inline constexpr auto kChoiceTexts = choice_texts<E>();

template <class T>
constexpr ParameterShape shape_of() {
  using Plain = typename Unwrapped<T>::type;
  ParameterShape shape;
  shape.kind = ParameterType<Plain>::kind;
  shape.nullable = Unwrapped<T>::nullable || shape.kind == ParameterKind::object;
  if constexpr (ParameterType<Plain>::kind == ParameterKind::list) {
    shape.element = ParameterType<Plain>::element;
  }
  if constexpr (std::is_enum_v<Plain>) {
    shape.choices = kChoiceTexts<Plain>.data();
    shape.choice_count = kChoiceTexts<Plain>.size();
  }
  return shape;
}

Json to_value(bool value);
Json to_value(std::int64_t value);
Json to_value(double value);
Json to_value(const std::string& value);
Json to_value(const std::vector<std::string>& value);
Json to_value(const std::vector<double>& value);
Json to_value(const std::vector<std::int64_t>& value);
void from_value(const Json& json, bool& value);
void from_value(const Json& json, std::int64_t& value);
void from_value(const Json& json, double& value);
void from_value(const Json& json, std::string& value);
void from_value(const Json& json, std::vector<std::string>& value);
void from_value(const Json& json, std::vector<double>& value);
void from_value(const Json& json, std::vector<std::int64_t>& value);
/// The position of the choice that `json` names. Failure `param-choice` if it names none.
std::size_t choice_index(const Json& json, const ParameterShape& shape);

template <class T>
concept HasOwnValue = std::same_as<T, std::string> || std::same_as<T, std::vector<std::string>> ||
    std::same_as<T, std::vector<double>> || std::same_as<T, std::vector<std::int64_t>>;

template <class T>
Json json_of(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& choice : choices(T{})) {
      if (choice.value == value) return to_value(std::string(choice.name));
    }
    return nullptr;
  } else if constexpr (std::same_as<T, bool>) {
    return to_value(value);
  } else if constexpr (std::integral<T>) {
    return to_value(static_cast<std::int64_t>(value));
  } else if constexpr (std::floating_point<T>) {
    return to_value(static_cast<double>(value));
  } else if constexpr (HasOwnValue<T>) {
    return to_value(value);
  } else {
    return Json(value);
  }
}

template <class T>
T value_of(const Json& json) {
  if constexpr (std::is_enum_v<T>) {
    return choices(T{})[choice_index(json, shape_of<T>())].value;
  } else if constexpr (std::integral<T> && !std::same_as<T, bool>) {
    std::int64_t value = 0;
    from_value(json, value);
    return static_cast<T>(value);
  } else if constexpr (std::floating_point<T>) {
    double value = 0;
    from_value(json, value);
    return static_cast<T>(value);
  } else if constexpr (std::same_as<T, bool> || HasOwnValue<T>) {
    T value{};
    from_value(json, value);
    return value;
  } else if constexpr (std::same_as<T, Json>) {
    return json;
  } else {
    return json.get<T>();
  }
}
}  // namespace detail

/// Marks a parameter without default: `Param<std::string> model{this, "model", required, "..."}`.
struct Required {
  explicit constexpr Required(int) {}
};
inline constexpr Required required{0};

/// A parameter of type bool, an integer, double, std::string, Json, an enumeration, a std::vector
/// of those, or std::optional of one (then null is allowed). `epsilon()` is its value.
template <class T>
class Param final : public ParameterBase {
 public:
  Param(Node* node, const char* name, T default_value, const char* doc,
        const ParamOptions& options = {})
      : Param(node, name, doc, options, json_of_default(default_value), std::move(default_value)) {}
  Param(Node* node, const char* name, Required, const char* doc, const ParamOptions& options = {})
      : ParameterBase(node, name, doc, detail::shape_of<T>(), options, nullptr) {}

  const T& operator()() const { return value_; }

 private:
  using Plain = typename detail::Unwrapped<T>::type;
  // By reference: a value would be moved from before the other argument has read it.
  Param(Node* node, const char* name, const char* doc, const ParamOptions& options,
        const Json& default_json, T&& default_value)
      : ParameterBase(node, name, doc, detail::shape_of<T>(), options, &default_json),
        value_(std::move(default_value)) {}
  static Json json_of_default(const T& value) {
    if constexpr (detail::Unwrapped<T>::nullable) {
      return value ? detail::json_of<Plain>(*value) : Json(nullptr);
    } else {
      return detail::json_of<T>(value);
    }
  }
  void assign(const Json& json) override {
    if constexpr (detail::Unwrapped<T>::nullable) {
      if (json.is_null()) {
        value_ = std::nullopt;
      } else {
        value_ = detail::value_of<Plain>(json);
      }
    } else {
      value_ = detail::value_of<T>(json);
    }
  }
  T value_{};
};

/// Says that the parameter of that name holds subgraphs: `step.run(body, part, ...)`. See
/// BodyDeclaration.
struct Body {
  Body(Node* node, const char* parameter, const char* vary = "", const char* values = "");
  const std::size_t index;
};

// ---- losses ----

/// The arguments of one evaluation of a loss: tensors by name for the rows of one micro-batch, and
/// the counts of the whole optimizer step, with which micro-batches add up.
class LossBatch {
 public:
  void set(std::string name, at::Tensor value);
  bool has(std::string_view name) const;
  /// Throws Failure `loss-argument-missing` naming what is there.
  const at::Tensor& at(std::string_view name) const;
  std::optional<double> total_tokens;
  std::optional<double> total_sequences;

 private:
  std::vector<std::pair<std::string, at::Tensor>> values_;

 public:
  /// Of losses on pairs; where it is not given, total_sequences counts the pairs.
  std::optional<double> total_pairs;
  /// Of losses whose mean is over neither tokens, rows nor pairs: the sum of what it is over
  /// (weights, labels, groups), which the loss's documentation names.
  std::optional<double> total_weight;
};

/// `loss` is a scalar with gradient; `outputs` are further scalars or tensors, detached.
struct LossResult {
  at::Tensor loss;
  NamedTensors outputs;
};

class LossFunction {
 public:
  virtual ~LossFunction() = default;
  virtual LossResult evaluate(const LossBatch& batch) const = 0;
  virtual const std::vector<LossArgumentDeclaration>& arguments() const = 0;
};

/// A node that gives one loss term: declare Arguments and write `evaluate`.
class LossNode : public Node, public LossFunction {
 public:
  Output<LossTerm> term{this, "term", "the loss, evaluated inside the optimizer"};
  void run(Step& step) const final;
  const std::vector<LossArgumentDeclaration>& arguments() const final {
    return declaration().loss_arguments;
  }

 private:
  friend struct Argument;
  std::vector<std::pair<std::string, std::size_t>> ports_;  // argument name -> input port index
};

struct ArgumentOptions {
  bool optional = false;
  bool differentiable = false;
};

/// An argument of a loss: `batch.at("log_probs")`.
struct Argument {
  Argument(LossNode* node, const char* name, const char* dims, const char* doc,
           const ArgumentOptions& options = {});
  /// As above, and also an optional input port of type T whose main field is the argument.
  template <class T>
  static Argument with_port(LossNode* node, const char* name, const char* dims, const char* doc,
                            const ArgumentOptions& options = {}) {
    add_port(node, PortTraits<T>::type(), name, dims, doc);
    return Argument(node, name, dims, doc, options);
  }

 private:
  static void add_port(LossNode* node, const PortType& type, const char* name, const char* dims,
                       const char* doc);
};

}  // namespace rewardloom
