#include "engine/run/evaluate_inputs.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <optional>

#include "engine/core/port_types.h"
#include "engine/core/problem.h"
#include "engine/core/real_numbers.h"

namespace rewardloom {
namespace {

/// A field of a port type as a key can fill it.
struct Field {
  std::string name;
  bool tensor = false;  ///< else JSON
  bool main = false;
  std::string dims = "";

  /// Dimensions that a tensor for it has; none where any number will do.
  std::optional<std::int64_t> rank() const {
    if (!tensor || dims.ends_with('*')) return std::nullopt;
    return dims.empty() ? 0 : 1 + std::count(dims.begin(), dims.end(), ',');
  }
};

class FieldList final : public FieldVisitor {
 public:
  std::vector<Field> fields;
  void tensor(const char* n, at::Tensor&, const char* dims, FieldOptions o) override {
    add(n, true, o);
    fields.back().dims = dims;
  }
  void tensors(const char* n, NamedTensors&, const char*, FieldOptions o) override {
    add(n, true, o);
  }
  void texts(const char* n, std::vector<std::string>&, const char*, FieldOptions o) override {
    add(n, false, o);
  }
  void rows(const char* n, std::vector<Json>&, const char*, FieldOptions o) override {
    add(n, false, o);
  }
  void numbers(const char* n, std::vector<double>&, const char*, FieldOptions o) override {
    add(n, true, o);
  }
  void text(const char* n, std::string&, FieldOptions o) override { add(n, false, o); }
  void json(const char* n, Json&, FieldOptions o) override { add(n, false, o); }
  void integer(const char* n, std::int64_t&) override { add(n, false, {}); }
  void number(const char* n, double&, FieldOptions o) override { add(n, true, o); }

 private:
  void add(const char* name, bool tensor, FieldOptions options) {
    fields.push_back({name, tensor, options.main, ""});
  }
};

struct Port {
  const PortDeclaration* declaration;
  const PortType* type;
  std::vector<Field> fields;
  std::map<std::size_t, Package> edges;

  const Field* field(std::string_view name) const {
    const auto it =
        std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == name; });
    return it == fields.end() ? nullptr : &*it;
  }
  const Field* main() const {
    const auto it =
        std::find_if(fields.begin(), fields.end(), [](const Field& f) { return f.main; });
    return it == fields.end() ? nullptr : &*it;
  }
  /// The field that a key `mask` stands for, where the type has another form of it; else null.
  const Field* masked_field() const {
    if (declaration->type == "Completions") return field("kinds");
    if (declaration->type == "StepRewards") return field("boundaries");
    return nullptr;
  }
};

/// One value under its key.
struct Entry {
  std::string key;
  at::Tensor tensor;
  const Json* json = nullptr;
};

at::Tensor kinds_of(const at::Tensor& mask) {
  const at::Tensor action = at::full({}, static_cast<std::int64_t>(TokenKind::action), at::kChar);
  return at::where(mask.to(at::kBool), action, at::zeros({}, at::kChar));
}

/// Boundaries of steps that are one token each: -1 where there is no step.
at::Tensor boundaries_of(const at::Tensor& mask) {
  const at::Tensor step = at::arange(mask.size(-1), at::kLong).expand_as(mask);
  return step.masked_fill(mask.to(at::kBool).logical_not(), -1);
}

/// JSON has no NaN and no infinities; outputs write them as these texts.
std::optional<double> special_number(const Json& json) {
  if (!json.is_string()) return std::nullopt;
  const std::string& text = json.get_ref<const std::string&>();
  if (text == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (text == "inf") return std::numeric_limits<double>::infinity();
  if (text == "-inf") return -std::numeric_limits<double>::infinity();
  return std::nullopt;
}

/// "[1,3]": the first entry of a nested list that is no number; nothing where all are.
std::optional<std::string> first_that_is_no_number(const Json& json, const std::string& place,
                                                   std::string& entry) {
  if (!json.is_array()) {
    if (json.is_number() || json.is_boolean() || special_number(json)) return std::nullopt;
    entry = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    return "[" + place + "]";
  }
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string here = fmt::format("{}{}{}", place, place.empty() ? "" : ",", i);
    if (auto found = first_that_is_no_number(json[i], here, entry)) return found;
  }
  return std::nullopt;
}

class KeyResolver {
 public:
  KeyResolver(const Registry& registry, const NodeDeclaration& node) : node_(node) {
    for (const PortDeclaration& declaration : node.inputs) {
      Port port{&declaration, registry.type(declaration.type), {}, {}};
      if (port.type != nullptr && port.type->visit != nullptr) {
        FieldList list;
        const auto sample = port.type->make();
        port.type->visit(list, sample.get());
        port.fields = std::move(list.fields);
      }
      ports_.push_back(std::move(port));
    }
  }

  /// Keys that name a port first, so that it is known which ports are given.
  void place(const std::vector<Entry>& entries) {
    std::vector<const Entry*> by_field;
    for (const Entry& entry : entries) {
      if (!place_at_port(entry)) by_field.push_back(&entry);
    }
    std::vector<const Entry*> shared;
    for (const Entry* entry : by_field) {
      if (!place_unique(*entry)) shared.push_back(entry);
    }
    for (const Entry* entry : shared) place_shared(*entry);
  }

  std::vector<std::vector<Value>> values() {
    std::vector<std::vector<Value>> out;
    for (Port& port : ports_) out.push_back(values_of(port));
    return out;
  }

 private:
  bool place_at_port(const Entry& entry) {
    const std::string_view key = entry.key;
    for (Port& port : ports_) {
      const std::string& name = port.declaration->name;
      if (!key.starts_with(name)) continue;
      std::string_view rest = key.substr(name.size());
      if (!rest.empty() && rest.front() != '.') continue;
      const std::size_t edge = take_index(port, rest);
      require_fields(port);
      if (rest.empty()) {
        if (port.main() == nullptr) continue;
        place_main(port, edge, entry);
        return true;
      }
      if (place_field(port, edge, rest.substr(1), entry)) return true;
    }
    return false;
  }

  /// A tensor with one dimension too many is the edges of a variadic port, one beside the other.
  static void place_main(Port& port, std::size_t edge, const Entry& entry) {
    const Field& main = *port.main();
    const bool list = port.declaration->variadic && entry.key == port.declaration->name;
    const at::Tensor whole =
        entry.tensor.defined() || !list ? entry.tensor : tensor_from_json(*entry.json);
    if (!list || !whole.defined() || !main.rank() || whole.dim() != *main.rank() + 1) {
      return put(port, edge, main, "", entry);
    }
    for (std::int64_t k = 0; k < whole.size(0); ++k) {
      put(port, static_cast<std::size_t>(k), main, "", {entry.key, whole[k], nullptr});
    }
  }

  static std::size_t take_index(const Port& port, std::string_view& rest) {
    if (!port.declaration->variadic || rest.size() < 2) return 0;
    std::size_t index = 0;
    const char* const end = rest.data() + rest.size();
    const auto [after, error] = std::from_chars(rest.data() + 1, end, index);
    if (error != std::errc() || (after != end && *after != '.')) return 0;
    rest.remove_prefix(static_cast<std::size_t>(after - rest.data()));
    return index;
  }

  /// `name` is a field, or a named tensor's part ("components.format").
  static bool place_field(Port& port, std::size_t edge, std::string_view name, const Entry& entry) {
    if (const Field* field = port.field(name)) {
      put(port, edge, *field, "", entry);
      return true;
    }
    const std::size_t dot = name.find('.');
    const Field* field = port.field(name.substr(0, dot));
    if (field == nullptr || dot == std::string_view::npos) {
      const Field* const other = port.masked_field();
      if (name != "mask" || other == nullptr) return false;
      Entry made = entry;
      const at::Tensor mask = entry.tensor.defined() ? entry.tensor : tensor_from_json(*entry.json);
      made.tensor = other->name == "kinds" ? kinds_of(mask) : boundaries_of(mask);
      put(port, edge, *other, "", made);
      return true;
    }
    put(port, edge, *field, name.substr(dot), entry);
    return true;
  }

  static bool holds(const Port& port, std::string_view name) {
    return port.field(name.substr(0, name.find('.'))) != nullptr ||
           (name == "mask" && port.masked_field() != nullptr);
  }

  bool place_unique(const Entry& entry) {
    std::vector<Port*> holders;
    for (Port& port : ports_) {
      if (holds(port, entry.key)) holders.push_back(&port);
    }
    if (holders.empty()) refuse_unknown(entry.key);
    if (holders.size() > 1) return false;
    return place_field(*holders[0], 0, entry.key, entry);
  }

  /// A field of several ports: of those that other keys name, and of those that must be there.
  void place_shared(const Entry& entry) {
    std::vector<std::string> names;
    bool placed = false;
    for (Port& port : ports_) {
      if (!holds(port, entry.key)) continue;
      names.push_back(port.declaration->name + "." + entry.key);
      const Field* field = port.field(entry.key);
      if (field != nullptr && field->main) continue;
      if (port.edges.empty() && port.declaration->optional) continue;
      if (field == nullptr && !takes_mask(port, entry)) continue;
      placed = place_field(port, 0, entry.key, entry) || placed;
    }
    if (placed) return;
    throw Failure("ambiguous-input", fmt::format("{} could be {}", entry.key, listed(names)),
                  "name the port as well");
  }

  /// A mask that several ports could take is not one over steps where there are others, or where it
  /// has not the sizes of the rewards.
  static bool takes_mask(const Port& port, const Entry& entry) {
    if (port.declaration->type != "StepRewards" || port.edges.empty()) return true;
    const auto& given = port.edges.begin()->second.tensors;
    const auto rewards = given.find("rewards");
    if (given.contains("boundaries")) return false;
    const at::Tensor mask = entry.tensor.defined() ? entry.tensor : tensor_from_json(*entry.json);
    return rewards == given.end() || rewards->second.sizes() == mask.sizes();
  }

  static void put(Port& port, std::size_t edge, const Field& field, std::string_view part,
                  const Entry& entry) {
    Package& package = port.edges[edge];
    const std::string name = field.name + std::string(part);
    if (entry.tensor.defined()) {
      package.tensors[name] = entry.tensor;
      return;
    }
    if (field.tensor) require_numbers(entry);
    const at::Tensor made = field.tensor ? tensor_from_json(*entry.json) : at::Tensor();
    if (made.defined()) {
      package.tensors[name] = made;
    } else {
      package.meta[name] = *entry.json;
    }
  }

  static void require_numbers(const Entry& entry) {
    if (entry.json->is_object()) return;
    std::string what;
    const auto place = first_that_is_no_number(*entry.json, "", what);
    if (!place) return;
    throw Failure(
        "bad-value",
        fmt::format("{} holds {}{}, which is no number", entry.key, what,
                    *place == "[]" ? "" : " at " + *place),
        "give numbers, true and false; \"nan\", \"inf\" and \"-inf\" are texts for those");
  }

  static void require_fields(const Port& port) {
    if (!port.fields.empty()) return;
    throw Failure("no-codec",
                  fmt::format("{} is a {}: it names state or code and has no file form",
                              port.declaration->name, port.declaration->type),
                  "run a graph that makes it");
  }

  std::vector<Value> values_of(Port& port) const {
    std::vector<Value> out;
    for (auto& [index, package] : port.edges) {
      complete(port, package);
      try {
        make_real(*port.type, package, at::kDouble);
        out.push_back(from_package(*port.type, package));
      } catch (const Failure& failure) {
        throw failure.at({"", node_.id, port.declaration->name});
      }
    }
    const bool needed =
        port.declaration->variadic ? port.declaration->at_least > 0 : !port.declaration->optional;
    if (out.empty() && needed) {
      throw Failure({Severity::error,
                     "missing-input",
                     {"", node_.id, port.declaration->name},
                     fmt::format("there is no value for this {}", port.declaration->type),
                     "give a tensor or list called " + port.declaration->name,
                     {}});
    }
    return out;
  }

  /// Completions of which only the mask or the texts matter: token ids that say nothing.
  static void complete(const Port& port, Package& package) {
    if (port.declaration->type != "Completions" || package.tensors.contains("tokens")) return;
    for (const char* name : {"kinds", "log_probs", "entropy"}) {
      const auto it = package.tensors.find(name);
      if (it == package.tensors.end()) continue;
      package.tensors["tokens"] = at::zeros(it->second.sizes(), at::kLong);
      break;
    }
    std::int64_t rows = -1;
    for (const char* name : {"text", "reference"}) {
      if (package.meta.contains(name)) rows = static_cast<std::int64_t>(package.meta[name].size());
    }
    if (!package.tensors.contains("tokens") && rows >= 0) {
      package.tensors["tokens"] = at::zeros({rows, 0}, at::kLong);
    }
    if (!package.tensors.contains("kinds") && package.tensors.contains("tokens")) {
      package.tensors["kinds"] = at::full_like(
          package.tensors["tokens"], static_cast<std::int64_t>(TokenKind::action), at::kChar);
    }
  }

  [[noreturn]] void refuse_unknown(const std::string& key) const {
    std::vector<std::string> known;
    for (const Port& port : ports_) {
      known.push_back(port.declaration->name);
      for (const Field& field : port.fields) {
        if (!field.main) known.push_back(port.declaration->name + "." + field.name);
      }
    }
    throw Failure({Severity::error,
                   "unknown-input",
                   {"", node_.id, key},
                   "is neither a port nor a field of a port",
                   known.empty() ? "this node has no inputs" : "give " + listed(known),
                   {}});
  }

  const NodeDeclaration& node_;
  std::vector<Port> ports_;
};

void collect(const Json& json, std::vector<const Json*>& leaves, std::vector<std::int64_t>& shape,
             std::size_t depth) {
  if (!json.is_array()) {
    if (depth != shape.size()) throw Failure("bad-value", "a list is ragged");
    leaves.push_back(&json);
    return;
  }
  const auto size = static_cast<std::int64_t>(json.size());
  if (depth == shape.size()) {
    if (!leaves.empty()) throw Failure("bad-value", "a list is ragged");
    shape.push_back(size);
  } else if (shape[depth] != size) {
    throw Failure("bad-value",
                  fmt::format("a list is ragged: {} and {} entries", shape[depth], size),
                  "rows of a tensor have the same length");
  }
  for (const Json& item : json) collect(item, leaves, shape, depth + 1);
}

bool only_numbers(const Json& json) {
  if (json.is_array()) return std::all_of(json.begin(), json.end(), only_numbers);
  return json.is_number() || json.is_boolean() || special_number(json).has_value();
}

}  // namespace

at::Tensor tensor_from_json(const Json& json) {
  if (!only_numbers(json)) return {};
  std::vector<const Json*> leaves;
  std::vector<std::int64_t> shape;
  collect(json, leaves, shape, 0);
  const auto number = [](const Json& leaf) {
    if (leaf.is_boolean()) return leaf.get<bool>() ? 1.0 : 0.0;
    return leaf.is_string() ? *special_number(leaf) : leaf.get<double>();
  };
  const auto all = [&](auto test) { return std::all_of(leaves.begin(), leaves.end(), test); };
  const bool booleans = !leaves.empty() && all([](const Json* j) { return j->is_boolean(); });
  const bool integers =
      !leaves.empty() && all([](const Json* j) { return j->is_number_integer(); });
  std::vector<double> values;
  std::vector<std::int64_t> whole;
  for (const Json* leaf : leaves) {
    if (integers) {
      whole.push_back(leaf->get<std::int64_t>());
    } else {
      values.push_back(number(*leaf));
    }
  }
  const at::Tensor flat = integers
                              ? at::tensor(at::ArrayRef<std::int64_t>(whole), at::dtype(at::kLong))
                              : at::tensor(at::ArrayRef<double>(values), at::dtype(at::kDouble));
  return flat.reshape(shape).to(booleans ? at::kBool : integers ? at::kLong : at::kDouble);
}

std::vector<Package> updates_from_keys(const Registry& registry, const NodeDeclaration& node,
                                       const Package& inputs) {
  std::vector<std::string> series;
  for (const PortDeclaration& declaration : node.inputs) {
    const PortType* const type = registry.type(declaration.type);
    const auto it = inputs.tensors.find(declaration.name);
    if (declaration.variadic || it == inputs.tensors.end() || type->visit == nullptr) continue;
    FieldList list;
    const auto sample = type->make();
    type->visit(list, sample.get());
    for (const Field& field : list.fields) {
      if (field.main && field.rank() && it->second.dim() == *field.rank() + 1) {
        series.push_back(declaration.name);
      }
    }
  }
  if (series.empty()) return {};
  const std::int64_t count = inputs.tensors.at(series.front()).size(0);
  std::vector<Package> updates(static_cast<std::size_t>(count), inputs);
  for (const std::string& name : series) {
    const at::Tensor& whole = inputs.tensors.at(name);
    if (whole.size(0) != count) {
      throw Failure("bad-shape", fmt::format("{} holds {} updates, but {} holds {}", series.front(),
                                             count, name, whole.size(0)));
    }
    for (std::int64_t u = 0; u < count; ++u) {
      updates[static_cast<std::size_t>(u)].tensors[name] = whole[u];
    }
  }
  return updates;
}

std::vector<std::vector<Value>> values_from_keys(const Registry& registry,
                                                 const NodeDeclaration& node,
                                                 const Package& inputs) {
  std::vector<Entry> entries;
  for (const auto& [key, tensor] : inputs.tensors) entries.push_back({key, tensor, nullptr});
  for (const auto& [key, json] : inputs.meta.items()) entries.push_back({key, {}, &json});
  KeyResolver resolver(registry, node);
  resolver.place(entries);
  return resolver.values();
}

}  // namespace rewardloom
