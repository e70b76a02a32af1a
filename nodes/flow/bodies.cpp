#include "nodes/flow/bodies.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/port_types.h"

namespace rewardloom {

void deliver(Step& step, const NamedValues& values) {
  const auto& names = step.settings().output_names;
  for (const auto& [name, value] : values) {
    const auto it = std::find(names.begin(), names.end(), name);
    if (it == names.end() || !value) continue;
    step.outputs()[static_cast<std::size_t>(it - names.begin())] = value;
  }
}

namespace {

[[noreturn]] void refuse_condition(const Json& json, const std::string& what) {
  throw Failure("bad-condition", fmt::format("{} {}", json.dump(), what),
                "write {\"metric\": NAME, \"above\": x} or {\"metric\": NAME, \"below\": x}");
}

std::optional<double> bound(const Json& json, const char* name) {
  if (!json.contains(name)) return std::nullopt;
  if (!json[name].is_number()) refuse_condition(json, fmt::format("has no number as {}", name));
  return json[name].get<double>();
}

/// The number called `name` in one output of a body.
std::optional<double> number_in(const std::string& output, const Value& value,
                                std::string_view name) {
  if (value.type() == &PortTraits<Scalar>::type()) {
    return name == output ? std::optional(value.get<Scalar>().value) : std::nullopt;
  }
  if (value.type() != &PortTraits<Metrics>::type()) return std::nullopt;
  const Metrics& metrics = value.get<Metrics>();
  for (std::size_t i = 0; i < metrics.names.size(); ++i) {
    if (metrics.names[i] == name || output + "." + metrics.names[i] == name) {
      return metrics.values[i];
    }
  }
  return std::nullopt;
}

[[noreturn]] void refuse_metric(const std::string& wanted, const NamedValues& outputs) {
  std::vector<std::string> known;
  for (const auto& [name, value] : outputs) {
    if (!value) continue;
    if (value.type() == &PortTraits<Scalar>::type()) known.push_back(name);
    if (value.type() != &PortTraits<Metrics>::type()) continue;
    for (const std::string& metric : value.get<Metrics>().names)
      known.push_back(name + "." + metric);
  }
  throw Failure("no-metric",
                fmt::format("no output of the body carries a number called {}", wanted),
                known.empty() ? "give the body an output of type Metrics or Scalar"
                              : "there are " + listed(known, "and"));
}

}  // namespace

MetricCondition MetricCondition::from_json(const Json& json) {
  MetricCondition out;
  if (json.is_null() || (json.is_object() && json.empty())) return out;
  if (!json.is_object()) refuse_condition(json, "is no object");
  for (const auto& [key, value] : json.items()) {
    if (key != "metric" && key != "above" && key != "below") {
      refuse_condition(json, fmt::format("has an unknown entry {}", key));
    }
  }
  if (!json.contains("metric") || !json["metric"].is_string()) {
    refuse_condition(json, "names no metric");
  }
  out.metric_ = json["metric"].get<std::string>();
  out.above_ = bound(json, "above");
  out.below_ = bound(json, "below");
  if (!out.above_ && !out.below_) refuse_condition(json, "has neither above nor below");
  return out;
}

bool MetricCondition::holds(const NamedValues& outputs) const {
  if (metric_.empty()) return false;
  bool absent = false;
  for (const auto& [name, value] : outputs) {
    absent = absent || !value;
    if (!value) continue;
    if (const auto number = number_in(name, value, metric_)) {
      return (above_ && *number > *above_) || (below_ && *number < *below_);
    }
  }
  // A body whose measuring node did not fire in this iteration gives nothing to judge.
  if (absent) return false;
  refuse_metric(metric_, outputs);
}

void KeptValues::set(const NamedValues& values) {
  for (const auto& [name, value] : values) {
    if (value && value.type()->visit == nullptr) {
      throw Failure("no-codec",
                    fmt::format("output {} is a {}, which cannot be kept between firings", name,
                                value.type()->declaration.name),
                    "make it outside of the body and pass it in");
    }
  }
  values_ = values;
}

void KeptValues::save(Package& out) const {
  Json order = Json::array();
  for (const auto& [name, value] : values_) {
    if (!value) continue;
    const Package package = to_package(value);
    for (const auto& [field, tensor] : package.tensors) out.tensors[name + "/" + field] = tensor;
    order.push_back(
        {{"name", name}, {"type", value.type()->declaration.name}, {"meta", package.meta}});
  }
  out.meta["values"] = order;
}

void KeptValues::load(const Package& in) {
  values_.clear();
  const std::vector<const PortType*> types = core_port_types();
  for (const Json& entry : in.meta.at("values")) {
    const auto name = entry.at("name").get<std::string>();
    const auto type_name = entry.at("type").get<std::string>();
    const auto type = std::find_if(types.begin(), types.end(), [&](const PortType* t) {
      return t->declaration.name == type_name;
    });
    if (type == types.end()) {
      throw Failure("no-codec", fmt::format("a kept value is of the unknown type {}", type_name));
    }
    Package package;
    package.meta = entry.at("meta");
    for (const auto& [key, tensor] : in.tensors) {
      if (key.starts_with(name + "/")) package.tensors[key.substr(name.size() + 1)] = tensor;
    }
    values_.emplace_back(name, from_package(**type, package));
  }
}

}  // namespace rewardloom
