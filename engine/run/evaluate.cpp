#include "engine/run/evaluate.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <map>

#include "engine/core/real_numbers.h"
#include "engine/core/step.h"
#include "engine/run/evaluate_inputs.h"

namespace rewardloom {
namespace {

/// What a single node sees of a run.
class LoneContext final : public StepContext {
 public:
  LoneContext(std::string node, bool skip_rows) : node_(std::move(node)), skip_rows_(skip_rows) {}

  std::vector<std::pair<std::string, double>> metrics;
  std::vector<Problem> alarms;

  void metric(std::string_view name, double value) override {
    metrics.emplace_back(std::string(name), value);
  }
  void alarm(std::string_view code, std::string_view text) override {
    alarms.push_back({Severity::warning,
                      std::string(code),
                      {"", node_, ""},
                      std::string(text),
                      "",
                      std::nullopt});
  }
  bool cancelled() const override { return false; }
  StateHolder& state(std::string_view name, const std::function<StateHolder()>& make) override {
    StateHolder& holder = states_[std::string(name)];
    if (!holder.object) holder = make();
    return holder;
  }
  void parallel(std::size_t count, const std::function<void(std::size_t)>& function) override {
    for (std::size_t i = 0; i < count; ++i) function(i);
  }
  NamedValues run_body(std::size_t, const BodyCall&) override {
    throw Failure({Severity::error,
                   "no-body",
                   {"", node_, ""},
                   "a container cannot be evaluated by itself",
                   "run a graph that holds it",
                   {}});
  }
  void fail_row(std::int64_t row, std::string_view reason) override {
    std::string text = fmt::format("row {}: {}", row, reason);
    if (!skip_rows_) {
      throw Failure({Severity::error,
                     "row-failed",
                     {"", node_, ""},
                     std::move(text),
                     "mend the row, or go on without such rows: on_error skip_row (--on-error "
                     "skip_row; in a graph, the node's on_error)",
                     {}});
    }
    failed_rows_.push_back(std::move(text));
  }
  /// Says which rows failed, where the node has not said so itself.
  void report_failed_rows() {
    const bool said = std::any_of(alarms.begin(), alarms.end(),
                                  [](const Problem& p) { return p.code == "rows-failed"; });
    if (failed_rows_.empty() || said) return;
    constexpr std::size_t shown = 3;
    std::string text = fmt::format("{} {} absent", failed_rows_.size(),
                                   failed_rows_.size() == 1 ? "row is" : "rows are");
    for (std::size_t i = 0; i < std::min(shown, failed_rows_.size()); ++i) {
      text += "; " + failed_rows_[i];
    }
    alarm("rows-failed", text);
  }

 private:
  std::string node_;
  bool skip_rows_;
  std::vector<std::string> failed_rows_;
  std::map<std::string, StateHolder> states_;
};

void add_output(Package& out, const std::string& port, const Value& value) {
  if (!value || value.type()->visit == nullptr) return;
  const Package fields = to_package(value);
  const std::string main = field_names(*value.type()).main;
  for (const auto& [name, tensor] : fields.tensors) {
    out.tensors[port + "." + name] = tensor;
    if (name == main) out.tensors[port] = tensor;
  }
  for (const auto& [name, json] : fields.meta.items()) {
    out.meta[port + "." + name] = json;
    if (name == main) out.meta[port] = json;
  }
}

/// Fires the node once; state stays in the context.
void fire(const Registry& registry, const Node& node, const Package& inputs,
          const EvaluateOptions& options, LoneContext& context, Package& out) {
  const NodeDeclaration& declaration = node.declaration();
  const auto values = values_from_keys(registry, declaration, inputs);
  std::vector<std::vector<const Value*>> edges(values.size());
  for (std::size_t port = 0; port < values.size(); ++port) {
    for (const Value& value : values[port]) edges[port].push_back(&value);
  }
  std::vector<Value> outputs(declaration.outputs.size());
  StepSettings settings;
  settings.node = declaration.id;
  settings.file = options.file;
  const RandomKey key{options.seed, hash_name(declaration.id),
                      static_cast<std::uint64_t>(options.iteration)};
  Step step(settings, context, edges, outputs, key, options.iteration);
  node.run(step);
  for (Value& value : outputs) make_real(value, at::kDouble);
  for (std::size_t port = 0; port < outputs.size(); ++port) {
    add_output(out, declaration.outputs[port].name, outputs[port]);
  }
}

/// Adds the outputs of one update to those before it: numbers become [U], tensors [U,...].
void stack_update(Package& all, const Package& update, std::int64_t index, std::int64_t count) {
  std::map<std::string, at::Tensor> tensors = update.tensors;
  for (const auto& [name, json] : update.meta.items()) {
    if (json.is_number() && !name.ends_with(".batch")) {
      tensors[name] = at::full({}, json.get<double>(), at::kDouble);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (index == 0) {
      std::vector<std::int64_t> shape = tensor.sizes().vec();
      shape.insert(shape.begin(), count);
      all.tensors[name] = at::zeros(shape, tensor.options());
    }
    const auto it = all.tensors.find(name);
    if (it != all.tensors.end()) it->second[index].copy_(tensor);
  }
}

EvaluateResult evaluate_node(const Registry& registry, const Node& node, const Package& inputs,
                             const EvaluateOptions& options) {
  const NodeDeclaration& declaration = node.declaration();
  LoneContext context(declaration.id, options.skip_rows);
  const at::NoGradGuard no_gradients;
  EvaluateResult result;
  const std::vector<Package> updates = declaration.states.empty()
                                           ? std::vector<Package>{}
                                           : updates_from_keys(registry, declaration, inputs);
  if (updates.empty()) fire(registry, node, inputs, options, context, result.outputs);
  for (std::size_t u = 0; u < updates.size(); ++u) {
    EvaluateOptions now = options;
    now.iteration += static_cast<std::int64_t>(u);
    Package outputs;
    fire(registry, node, updates[u], now, context, outputs);
    stack_update(result.outputs, outputs, static_cast<std::int64_t>(u),
                 static_cast<std::int64_t>(updates.size()));
  }
  context.report_failed_rows();
  result.alarms = std::move(context.alarms);
  for (const auto& [name, value] : context.metrics) {
    if (result.outputs.tensors.contains(name) || result.outputs.meta.contains(name)) continue;
    result.outputs.tensors[name] = at::full({}, value, at::kDouble);
  }
  return result;
}

/// The value of a scalar key that is no argument.
std::optional<double> taken_scalar(std::map<std::string, at::Tensor>& given, const char* name) {
  const auto it = given.find(name);
  if (it == given.end()) return std::nullopt;
  const double value = it->second.item<double>();
  given.erase(it);
  return value;
}

std::map<std::string, at::Tensor> all_tensors(const NodeDeclaration& node, const Package& inputs) {
  std::map<std::string, at::Tensor> given = inputs.tensors;
  for (const auto& [key, json] : inputs.meta.items()) {
    given[key] = tensor_from_json(json);
    if (given[key].defined()) continue;
    throw Failure({Severity::error,
                   "bad-value",
                   {"", node.id, key},
                   "is no list of numbers",
                   "a loss takes tensors",
                   {}});
  }
  return given;
}

/// What whole numbers become beside floating-point ones: the widest of those, single precision at
/// least.
at::ScalarType common_real(const std::map<std::string, at::Tensor>& given) {
  std::optional<at::ScalarType> widest;
  for (const auto& [name, tensor] : given) {
    if (!at::isFloatingType(tensor.scalar_type())) continue;
    widest = at::promoteTypes(widest.value_or(at::kFloat), tensor.scalar_type());
  }
  return widest.value_or(at::kDouble);
}

void make_arguments_real(const LossNode& node, std::map<std::string, at::Tensor>& given) {
  const at::ScalarType real = common_real(given);
  for (const LossArgumentDeclaration& argument : node.arguments()) {
    if (!argument.differentiable && !is_real_argument(argument.name)) continue;
    const auto it = given.find(argument.name);
    if (it != given.end()) it->second = real_numbers(it->second, real);
  }
}

EvaluateResult evaluate_loss(const LossNode& node, const Package& inputs) {
  const NodeDeclaration& declaration = node.declaration();
  std::map<std::string, at::Tensor> given = all_tensors(declaration, inputs);
  LossBatch batch;
  batch.total_tokens = taken_scalar(given, "total_tokens");
  batch.total_sequences = taken_scalar(given, "total_sequences");
  batch.total_pairs = taken_scalar(given, "total_pairs");
  batch.total_weight = taken_scalar(given, "total_weight");
  std::vector<std::string> known{"total_tokens", "total_sequences", "total_pairs", "total_weight"};
  for (const LossArgumentDeclaration& argument : node.arguments()) known.push_back(argument.name);

  make_arguments_real(node, given);

  const at::AutoGradMode gradients(true);
  std::vector<std::pair<std::string, at::Tensor>> leaves;
  for (const auto& [name, tensor] : given) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Failure({Severity::error,
                     "unknown-input",
                     {"", declaration.id, name},
                     "is no argument of this loss",
                     "its arguments are " + listed(known, "and"),
                     {}});
    }
    at::Tensor leaf = tensor.detach().clone();
    if (at::isFloatingType(leaf.scalar_type())) {
      leaf.requires_grad_(true);
      leaves.emplace_back(name, leaf);
    }
    batch.set(name, leaf);
  }
  const LossResult loss = node.evaluate(batch);
  if (loss.loss.requires_grad()) loss.loss.backward();

  EvaluateResult result;
  result.outputs.tensors["loss"] = loss.loss.detach();
  for (const auto& [name, tensor] : loss.outputs) result.outputs.tensors[name] = tensor.detach();
  for (const auto& [name, leaf] : leaves) {
    result.outputs.tensors[name + ".grad"] =
        leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf.detach());
  }
  return result;
}

}  // namespace

EvaluateResult evaluate(const Registry& registry, std::string_view type, const Json& params,
                        const Package& inputs, const EvaluateOptions& options) {
  const std::shared_ptr<Node> node = registry.make(type, params);
  try {
    if (const auto* const loss = dynamic_cast<const LossNode*>(node.get())) {
      return evaluate_loss(*loss, inputs);
    }
    return evaluate_node(registry, *node, inputs, options);
  } catch (const Failure& failure) {
    throw failure.at({"", std::string(type), ""});
  } catch (const c10::Error& error) {
    throw Failure({Severity::error,
                   "tensor-failed",
                   {"", std::string(type), ""},
                   error.what_without_backtrace(),
                   "check the shapes and types of the inputs",
                   {}});
  }
}

}  // namespace rewardloom
