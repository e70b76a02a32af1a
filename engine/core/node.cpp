#include "engine/core/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/real_numbers.h"
#include "engine/core/step.h"

namespace rewardloom {

Node::Node() = default;
Node::~Node() = default;

namespace detail {

std::size_t add_input(Node* node, const PortType& type, const char* name, const char* doc,
                      const InputOptions& options, InputKind kind) {
  PortDeclaration port;
  port.name = name;
  port.doc = doc;
  port.type = type.declaration.name;
  port.dims = options.dims;
  port.needs = options.needs;
  port.access = kind.access;
  port.optional = kind.optional;
  port.variadic = kind.variadic;
  port.at_least = kind.at_least;
  auto& inputs = Declare::of(node).inputs;
  inputs.push_back(std::move(port));
  return inputs.size() - 1;
}

std::size_t add_output(Node* node, const PortType& type, const char* name, const char* doc,
                       const OutputOptions& options) {
  PortDeclaration port;
  port.name = name;
  port.doc = doc;
  port.type = type.declaration.name;
  port.dims = options.dims;
  port.same_as = options.same_as;
  port.gold = options.gold;
  port.facts = options.facts;
  auto& outputs = Declare::of(node).outputs;
  outputs.push_back(std::move(port));
  return outputs.size() - 1;
}

void add_state(Node* node, const char* name) { Declare::of(node).states.push_back(name); }

const InputOptions& plain_input() {
  static const InputOptions options;
  return options;
}

const OutputOptions& plain_output() {
  static const OutputOptions options;
  return options;
}

Json to_value(bool value) { return value; }
Json to_value(std::int64_t value) { return value; }
Json to_value(double value) { return value; }
Json to_value(const std::string& value) { return value; }
Json to_value(const std::vector<std::string>& value) { return value; }
Json to_value(const std::vector<double>& value) { return value; }
Json to_value(const std::vector<std::int64_t>& value) { return value; }

void from_value(const Json& json, bool& value) { value = json.get<bool>(); }
void from_value(const Json& json, std::int64_t& value) {
  value = json.is_number_float() ? static_cast<std::int64_t>(json.get<double>())
                                 : json.get<std::int64_t>();
}
void from_value(const Json& json, double& value) { value = json.get<double>(); }
void from_value(const Json& json, std::string& value) { value = json.get<std::string>(); }
void from_value(const Json& json, std::vector<std::string>& value) {
  value = json.get<std::vector<std::string>>();
}
void from_value(const Json& json, std::vector<double>& value) {
  value = json.get<std::vector<double>>();
}
void from_value(const Json& json, std::vector<std::int64_t>& value) {
  value = json.get<std::vector<std::int64_t>>();
}

std::size_t choice_index(const Json& json, const ParameterShape& shape) {
  const auto name = json.get<std::string>();
  for (std::size_t i = 0; i < shape.choice_count; ++i) {
    if (name == shape.choices[i].name) return i;
  }
  throw Failure("param-choice", "\"" + name + "\" is not a choice");
}

}  // namespace detail

TraitsMember::TraitsMember(Node* node, const Traits& traits) { Declare::of(node).traits = traits; }
Doc::Doc(Node* node, const char* text) { Declare::of(node).doc = text; }
Synonyms::Synonyms(Node* node, std::initializer_list<const char*> words) {
  Declare::of(node).synonyms.assign(words.begin(), words.end());
}
Rule::Rule(Node* node, const RuleDeclaration& rule) { Declare::of(node).rules.push_back(rule); }
Preset::Preset(Node* node, const char* name, const Json& params) {
  Declare::of(node).presets.push_back({name, params});
}
Supplies::Supplies(Node* node, std::initializer_list<const char*> names) {
  Declare::of(node).supplies.assign(names.begin(), names.end());
}
Body::Body(Node* node, const char* parameter, const char* vary, const char* values)
    : index(Declare::of(node).bodies.size()) {
  Declare::of(node).bodies.push_back({parameter, vary, values});
}
Argument::Argument(LossNode* node, const char* name, const char* dims, const char* doc,
                   const ArgumentOptions& options) {
  Declare::of(node).loss_arguments.push_back(
      {name, dims, doc, options.optional, options.differentiable});
}
void Argument::add_port(LossNode* node, const PortType& type, const char* name, const char* dims,
                        const char* doc) {
  node->ports_.emplace_back(
      name, detail::add_input(node, type, name, doc, {.dims = dims}, {.optional = true}));
}

ParameterBase::ParameterBase(Node* node, const char* name, const char* doc,
                             const ParameterShape& shape, const ParamOptions& options,
                             const Json* value)
    : node_(node), index_(node->declaration_.params.size()) {
  ParameterDeclaration p;
  p.name = name;
  p.doc = doc;
  p.kind = shape.kind;
  p.element = shape.element;
  p.nullable = shape.nullable;
  p.min = options.min;
  p.max = options.max;
  p.exclusive_min = options.exclusive_min;
  p.exclusive_max = options.exclusive_max;
  p.unit = options.unit;
  p.path = options.path;
  for (std::size_t i = 0; i < shape.choice_count; ++i) {
    p.choices.push_back({shape.choices[i].name, shape.choices[i].doc});
  }
  p.required = value == nullptr;
  if (value != nullptr) p.default_value = *value;
  node->declaration_.params.push_back(std::move(p));
  node->parameters_.push_back(this);
}

ParameterBase::~ParameterBase() = default;

const ParameterDeclaration& ParameterBase::declaration() const {
  return node_->declaration_.params[index_];
}

namespace {

const Json* preset_params(const NodeDeclaration& node, const Json& params) {
  if (node.presets.empty() || !params.contains("preset")) return nullptr;
  for (const PresetDeclaration& preset : node.presets) {
    if (params["preset"] == preset.name) return &preset.params;
  }
  return nullptr;
}

}  // namespace

void Node::configure(const Json& params) {
  for (const auto& [name, value] : params.items()) {
    if (declaration_.param(name) != nullptr) continue;
    std::vector<std::string> known;
    for (const ParameterDeclaration& p : declaration_.params) known.push_back(p.name);
    throw Failure({Severity::error,
                   "unknown-parameter",
                   {"", "", name},
                   fmt::format("{} has no parameter of this name", declaration_.id),
                   known.empty() ? "it has none" : "its parameters are " + listed(known, "and"),
                   {}});
  }
  const Json* const preset = preset_params(declaration_, params);
  for (ParameterBase* parameter : parameters_) {
    const ParameterDeclaration& p = parameter->declaration();
    const bool given = params.contains(p.name);
    const Json* value = given                                           ? &params[p.name]
                        : preset != nullptr && preset->contains(p.name) ? &(*preset)[p.name]
                                                                        : nullptr;
    if (value == nullptr) {
      if (p.required) {
        throw Failure({Severity::error,
                       "missing-parameter",
                       {"", "", p.name},
                       "has no default",
                       "set it: " + p.doc,
                       {}});
      }
      continue;
    }
    if (const auto fault = fault_of(p, *value)) {
      throw Failure({Severity::error, fault_code(p, *value), {"", "", p.name}, *fault, p.doc, {}});
    }
    parameter->assign(*value);
    parameter->given_ = given;
  }
}

namespace {

/// Half precision overflows in sums over tokens, and its functions are missing on the CPU: losses
/// are computed in single precision, and gradients come back in the argument's type.
at::Tensor loss_number(std::string_view name, at::Tensor value) {
  if (!value.defined()) return value;
  if (value.scalar_type() == at::kHalf) return value.to(at::kFloat);
  return is_real_argument(name) ? real_numbers(value, at::kFloat) : value;
}

}  // namespace

void LossBatch::set(std::string name, at::Tensor value) {
  value = loss_number(name, std::move(value));
  for (auto& [known, tensor] : values_) {
    if (known == name) {
      tensor = std::move(value);
      return;
    }
  }
  values_.emplace_back(std::move(name), std::move(value));
}

bool LossBatch::has(std::string_view name) const {
  return std::any_of(values_.begin(), values_.end(), [&](const auto& entry) {
    return entry.first == name && entry.second.defined();
  });
}

const at::Tensor& LossBatch::at(std::string_view name) const {
  std::vector<std::string> there;
  for (const auto& [known, tensor] : values_) {
    if (known == name && tensor.defined()) return tensor;
    there.push_back(known);
  }
  throw Failure("loss-argument-missing",
                fmt::format("the loss needs {}, but was given {}", name,
                            there.empty() ? "nothing" : listed(there, "and")),
                "connect it to the loss node or to the optimizer");
}

namespace {

/// The tensor of a value's main field.
class MainTensor final : public FieldVisitor {
 public:
  at::Tensor found;
  void tensor(const char*, at::Tensor& value, const char*, FieldOptions options) override {
    if (options.main) found = value;
  }
  void tensors(const char*, NamedTensors&, const char*, FieldOptions) override {}
  void texts(const char*, std::vector<std::string>&, const char*, FieldOptions) override {}
  void rows(const char*, std::vector<Json>&, const char*, FieldOptions) override {}
  void numbers(const char*, std::vector<double>&, const char*, FieldOptions) override {}
  void text(const char*, std::string&, FieldOptions) override {}
  void json(const char*, Json&, FieldOptions) override {}
  void integer(const char*, std::int64_t&) override {}
  void number(const char*, double&, FieldOptions) override {}
};

}  // namespace

void LossNode::run(Step& step) const {
  LossTerm result;
  result.function = std::shared_ptr<const LossFunction>(shared_from_this(), this);
  result.name = step.node();
  for (const auto& [name, index] : ports_) {
    const auto& edges = step.inputs()[index];
    if (edges.empty() || !*edges[0]) continue;
    MainTensor main;
    edges[0]->type()->visit(main, const_cast<void*>(edges[0]->identity()));
    result.data.emplace_back(name, main.found);
  }
  step[term] = std::move(result);
}

}  // namespace rewardloom
