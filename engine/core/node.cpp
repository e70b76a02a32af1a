#include "engine/core/node.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/step.h"

namespace rewardloom {

ParameterBase::ParameterBase(Node* node, ParameterDeclaration declaration)
    : node_(node), index_(node->declaration_.params.size()) {
  node->declaration_.params.push_back(std::move(declaration));
  node->parameters_.push_back(this);
}

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
    throw Failure({Severity::error, "unknown-parameter", {"", "", name},
                   fmt::format("{} has no parameter of this name", declaration_.id),
                   known.empty() ? "it has none" : "its parameters are " + listed(known, "and"), {}});
  }
  const Json* const preset = preset_params(declaration_, params);
  for (ParameterBase* parameter : parameters_) {
    const ParameterDeclaration& p = parameter->declaration();
    const bool given = params.contains(p.name);
    const Json* value = given                                     ? &params[p.name]
                        : preset != nullptr && preset->contains(p.name) ? &(*preset)[p.name]
                                                                        : nullptr;
    if (value == nullptr) {
      if (p.required) {
        throw Failure({Severity::error, "missing-parameter", {"", "", p.name}, "has no default",
                       "set it: " + p.doc, {}});
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

void LossBatch::set(std::string name, at::Tensor value) {
  for (auto& [known, tensor] : values_) {
    if (known == name) {
      tensor = std::move(value);
      return;
    }
  }
  values_.emplace_back(std::move(name), std::move(value));
}

bool LossBatch::has(std::string_view name) const {
  return std::any_of(values_.begin(), values_.end(),
                     [&](const auto& entry) { return entry.first == name && entry.second.defined(); });
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
