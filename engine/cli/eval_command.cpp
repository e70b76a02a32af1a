// One node on given values: files in, files out.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "engine/cli/command_line.h"
#include "engine/cli/terminal.h"
#include "engine/core/registry.h"
#include "engine/graph/json_text.h"
#include "engine/graph/rules.h"
#include "engine/io/durable_file.h"
#include "engine/io/safetensors.h"
#include "engine/run/evaluate.h"

namespace rewardloom::cli {
namespace {

struct EvalGiven {
  std::string type;
  std::string params = "{}";
  std::vector<std::string> inputs;
  std::string out;
  std::uint64_t seed = 0;
  std::int64_t iteration = 0;
  std::string on_error = "stop";
  std::vector<std::string> plugins;
};

bool is_safetensors(const std::string& file) { return file.ends_with(".safetensors"); }

[[noreturn]] void refuse_extension(const std::string& file) {
  throw WrongUsage("file-extension", fmt::format("{} is neither .safetensors nor .json", file),
                   "tensors go into .safetensors, lists and texts into .json");
}

Json parsed(const std::string& text, const std::string& what) {
  JsonText json = as_usage([&] { return parse_json(text, what); });
  if (json.duplicate_keys.empty()) return std::move(json.value);
  throw WrongUsage("duplicate-key",
                   fmt::format("{}: the key {} is there twice", what, json.duplicate_keys.front()),
                   "keep one of them");
}

Json object_of(const std::string& text, const std::string& what) {
  Json json = parsed(text, what);
  if (json.is_object()) return json;
  throw WrongUsage("json-shape",
                   fmt::format("{} is a JSON {}, not an object", what, json.type_name()),
                   "write {\"name\": value, ...}");
}

Json params_of(const std::string& given) {
  if (!given.starts_with("@")) return object_of(given, "--params");
  const std::string file = given.substr(1);
  return object_of(as_usage([&] { return read_file(file); }), file);
}

/// Files by other programs carry remarks such as {"format": "pt"}: texts that are no input.
bool is_remark(const NodeDeclaration& node, const std::string& key, const Json& value) {
  if (!value.is_string()) return false;
  return node.input(key.substr(0, key.find('.'))) == nullptr;
}

Package read_input(const NodeDeclaration& node, const std::string& file) {
  Package package;
  if (is_safetensors(file)) {
    package = read_safetensors(file);
    Json meta = Json::object();
    for (const auto& [key, value] : package.meta.items()) {
      if (!is_remark(node, key, value)) meta[key] = value;
    }
    package.meta = std::move(meta);
  } else if (file.ends_with(".json")) {
    package.meta = object_of(read_file(file), file);
  } else {
    refuse_extension(file);
  }
  return package;
}

Package read_inputs(const NodeDeclaration& node, const std::vector<std::string>& files) {
  Package all;
  const auto once = [&](const std::string& key, const std::string& file) {
    if (!all.tensors.contains(key) && !all.meta.contains(key)) return;
    throw WrongUsage("input-twice",
                     fmt::format("{} gives {}, which an earlier --in gave already", file, key));
  };
  for (const std::string& file : files) {
    Package one = as_usage([&] { return read_input(node, file); });
    for (auto& [key, tensor] : one.tensors) {
      once(key, file);
      all.tensors[key] = std::move(tensor);
    }
    for (const auto& [key, value] : one.meta.items()) {
      once(key, file);
      all.meta[key] = value;
    }
  }
  return all;
}

/// JSON has no NaN and no infinities; they are written as texts.
Json number_json(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/// The elements of a contiguous tensor of T as nested lists.
template <class T>
Json nested(const at::Tensor& tensor, std::int64_t dim, const T*& next) {
  if (dim == tensor.dim()) {
    if constexpr (std::is_same_v<T, double>) {
      return number_json(*next++);
    } else {
      return *next++;
    }
  }
  Json list = Json::array();
  for (std::int64_t i = 0; i < tensor.size(dim); ++i) list.push_back(nested(tensor, dim + 1, next));
  return list;
}

template <class T>
Json nested(const at::Tensor& tensor, at::ScalarType type) {
  const at::Tensor plain = tensor.to(at::kCPU, type).contiguous();
  const T* next = plain.data_ptr<T>();
  return nested(plain, 0, next);
}

Json list_json(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kBool) return nested<bool>(tensor, at::kBool);
  if (at::isIntegralType(tensor.scalar_type(), false))
    return nested<std::int64_t>(tensor, at::kLong);
  return nested<double>(tensor, at::kDouble);
}

std::string json_text(const Package& package) {
  Json json = Json::object();
  for (const auto& [name, tensor] : package.tensors) json[name] = list_json(tensor);
  for (const auto& [name, value] : package.meta.items()) json[name] = value;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void write_output(const std::string& file, const Package& package) {
  if (file == "-") return print(json_text(package));
  if (is_safetensors(file)) return write_safetensors(file, package, Durability::buffered);
  write_durably(file, json_text(package), Durability::buffered);
}

/// What the checker would say of these parameters in a graph; rules on inputs are left to the node.
void hold_rules(const NodeDeclaration& node, const Json& params) {
  for (const RuleFault& fault : rule_faults({node, params, {}})) {
    throw Failure(
        {Severity::error, "options", {"", node.id, fault.place}, fault.text, fault.help, {}});
  }
}

int evaluate_node(const EvalGiven& given) {
  if (given.out != "-" && !is_safetensors(given.out) && !given.out.ends_with(".json")) {
    refuse_extension(given.out);
  }
  const auto registry = make_registry(given.plugins);
  const NodeDeclaration* const node = registry->catalogue().node(given.type);
  if (node == nullptr) {
    const std::vector<std::string> near = nearest(given.type, registry->catalogue().node_ids());
    throw WrongUsage(
        "unknown-type", fmt::format("there is no node type {}", given.type),
        near.empty() ? "`rewardloom nodes` lists all" : "did you mean " + listed(near) + "?");
  }
  const Json params = params_of(given.params);
  as_usage([&] {
    registry->make(given.type, params);
    hold_rules(*node, params);
  });
  const Package inputs = read_inputs(*node, given.inputs);
  EvaluateOptions options;
  options.seed = given.seed;
  options.iteration = given.iteration;
  options.skip_rows = given.on_error == "skip_row";
  const EvaluateResult result = evaluate(*registry, given.type, params, inputs, options);
  for (const Problem& alarm : result.alarms) print_problem(alarm);
  write_output(given.out, result.outputs);
  return kDone;
}

}  // namespace

void add_eval_command(CLI::App& app, Action& action) {
  CLI::App* const command = app.add_subcommand("eval", "runs one node on values from files");
  const auto given = std::make_shared<EvalGiven>();
  command->add_option("TYPE", given->type, "the node type")->required();
  command
      ->add_option("--params", given->params,
                   "its parameters, or @FILE that holds them (default: {})")
      ->type_name("JSON");
  command
      ->add_option("--in", given->inputs,
                   "values: .safetensors, or .json with an object of lists; several are joined "
                   "(default: none)")
      ->type_name("FILE");
  command
      ->add_option("--out", given->out,
                   "where outputs go: .safetensors or .json; - is JSON on standard output")
      ->type_name("FILE")
      ->required();
  command->add_option("--seed", given->seed, "of the node's random numbers (default: 0)")
      ->type_name("S");
  command->add_option("--iteration", given->iteration, "that the node sees (default: 0)")
      ->type_name("N");
  command
      ->add_option(
          "--on-error", given->on_error,
          "what a row does that cannot be scored, as a node's on_error in a graph: stop, or "
          "skip_row, which makes it absent (default: stop)")
      ->type_name("POLICY")
      ->check(CLI::IsMember({"stop", "skip_row"}));
  add_plugin_option(*command, given->plugins);
  command->footer(
      "A key of a file is an input's name, `port.field`, or a field's name that only one port "
      "has.\n"
      "Outputs stand under `port` and `port.field`; a loss gives `loss` and `INPUT.grad`.\n"
      "A .safetensors file holds tensors; numbers and texts (of a Scalar, say) stand in its "
      "__metadata__, written\nas JSON in texts. A .json file holds both alike.\n"
      "Example: rewardloom eval advantage.group --in rewards.json --out -\n"
      "         with rewards.json = {\"rewards\": [1, 0, 0, 1], \"group\": [0, 0, 1, 1]}");
  command->callback([&action, given] { action = [given] { return evaluate_node(*given); }; });
}

}  // namespace rewardloom::cli
