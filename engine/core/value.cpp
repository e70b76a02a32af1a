#include "engine/core/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace rewardloom {

void Value::refuse(const PortType& wanted) const {
  throw Failure("type-mismatch", fmt::format("expects {}, but there is {}", wanted.declaration.name,
                                             type_ ? type_->declaration.name : "no value"));
}

namespace {

/// Values are immutable: walking one never changes it, so the cast is safe for visitors that only
/// read.
void walk(const Value& value, FieldVisitor& visitor) {
  if (!value) throw Failure("no-value", "there is no value to read");
  if (value.type()->visit == nullptr) {
    throw Failure("no-codec", fmt::format("a {} names state or code and has no file form",
                                          value.type()->declaration.name));
  }
  value.type()->visit(visitor, const_cast<void*>(value.identity()));
}

class Saver final : public FieldVisitor {
 public:
  Package package;
  void tensor(const char* name, at::Tensor& value, const char*, FieldOptions) override {
    if (value.defined()) package.tensors[name] = value;
  }
  void tensors(const char* name, NamedTensors& value, const char*, FieldOptions) override {
    if (value.empty()) return;
    Json order = Json::array();
    for (const auto& [part, tensor] : value) {
      order.push_back(part);
      package.tensors[fmt::format("{}.{}", name, part)] = tensor;
    }
    package.meta[name] = order;
  }
  void texts(const char* name, std::vector<std::string>& value, const char*,
             FieldOptions options) override {
    if (!value.empty() || !options.optional) package.meta[name] = value;
  }
  void rows(const char* name, std::vector<Json>& value, const char*,
            FieldOptions options) override {
    if (!value.empty() || !options.optional) package.meta[name] = value;
  }
  void numbers(const char* name, std::vector<double>& value, const char*, FieldOptions) override {
    package.meta[name] = value;
  }
  void text(const char* name, std::string& value, FieldOptions) override {
    package.meta[name] = value;
  }
  void json(const char* name, Json& value, FieldOptions) override { package.meta[name] = value; }
  void integer(const char* name, std::int64_t& value) override { package.meta[name] = value; }
  void number(const char* name, double& value, FieldOptions) override {
    package.meta[name] = value;
  }
};

class Loader final : public FieldVisitor {
 public:
  Loader(const Package& package, std::string type) : package_(package), type_(std::move(type)) {}

  void tensor(const char* name, at::Tensor& value, const char*, FieldOptions options) override {
    const auto it = package_.tensors.find(name);
    if (it != package_.tensors.end()) {
      value = it->second;
    } else if (!options.optional) {
      missing(name);
    }
  }
  void tensors(const char* name, NamedTensors& value, const char*, FieldOptions) override {
    value.clear();
    const auto whole = package_.tensors.find(name);
    if (whole != package_.tensors.end()) return split(whole->second, value);
    for (const std::string& part : part_names(name)) {
      value.emplace_back(part, package_.tensors.at(fmt::format("{}.{}", name, part)));
    }
  }
  void texts(const char* name, std::vector<std::string>& value, const char*,
             FieldOptions options) override {
    const Json* json = find(name, options);
    if (json == nullptr) return;
    try {
      value = json->get<std::vector<std::string>>();
    } catch (const nlohmann::json::exception&) {
      throw Failure({Severity::error,
                     "bad-value",
                     {"", "", name},
                     fmt::format("field {} of {} must be a list of texts", name, type_),
                     "",
                     {}});
    }
  }
  void rows(const char* name, std::vector<Json>& value, const char*,
            FieldOptions options) override {
    const Json* json = find(name, options);
    if (json == nullptr) return;
    if (!json->is_array()) {
      throw Failure({Severity::error,
                     "bad-value",
                     {"", "", name},
                     fmt::format("field {} of {} must be a list", name, type_),
                     "",
                     {}});
    }
    value.assign(json->begin(), json->end());
  }
  void numbers(const char* name, std::vector<double>& value, const char*,
               FieldOptions options) override {
    const auto it = package_.tensors.find(name);
    if (it != package_.tensors.end()) {
      const at::Tensor flat = it->second.to(at::kDouble).contiguous();
      value.assign(flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel());
    } else if (const Json* json = find(name, options)) {
      value = json->get<std::vector<double>>();
    }
  }
  void text(const char* name, std::string& value, FieldOptions options) override {
    if (const Json* json = find(name, options)) value = json->get<std::string>();
  }
  void json(const char* name, Json& value, FieldOptions options) override {
    if (const Json* json = find(name, options)) value = *json;
  }
  void integer(const char* name, std::int64_t& value) override {
    if (const Json* json = find(name, {.optional = true})) value = json->get<std::int64_t>();
    scalar(name, value);
  }
  void number(const char* name, double& value, FieldOptions options) override {
    if (package_.tensors.contains(name)) return scalar(name, value);
    if (const Json* json = find(name, options)) value = json->get<double>();
  }

 private:
  [[noreturn]] void missing(const char* name) const {
    throw Failure({Severity::error,
                   "missing-field",
                   {"", "", name},
                   fmt::format("{} has no {}", type_, name),
                   "give it in the file",
                   {}});
  }
  const Json* find(const char* name, FieldOptions options) const {
    if (package_.meta.contains(name)) return &package_.meta[name];
    if (!options.optional) missing(name);
    return nullptr;
  }
  template <class T>
  void scalar(const char* name, T& value) const {
    const auto it = package_.tensors.find(name);
    if (it != package_.tensors.end()) value = it->second.item<T>();
  }
  std::vector<std::string> part_names(const std::string& name) const {
    if (package_.meta.contains(name)) return package_.meta[name].get<std::vector<std::string>>();
    std::vector<std::string> names;
    for (const auto& [key, tensor] : package_.tensors) {
      if (key.starts_with(name + ".")) names.push_back(key.substr(name.size() + 1));
    }
    return names;
  }
  /// A plain [N,K] tensor stands for K parts called "0", "1", ...
  static void split(const at::Tensor& whole, NamedTensors& value) {
    const at::Tensor columns = whole.dim() < 2 ? whole.unsqueeze(-1) : whole;
    for (std::int64_t k = 0; k < columns.size(-1); ++k) {
      value.emplace_back(std::to_string(k), columns.select(-1, k));
    }
  }
  const Package& package_;
  std::string type_;
};

std::vector<std::string> letters(const std::string& dims) {
  std::vector<std::string> out;
  std::string letter;
  for (const char c : dims) {
    if (c == ',') {
      out.push_back(letter);
      letter.clear();
    } else {
      letter += c;
    }
  }
  if (!letter.empty()) out.push_back(letter);
  return out;
}

class ShapeCheck final : public FieldVisitor {
 public:
  std::string fault;
  void tensor(const char* name, at::Tensor& value, const char* dims, FieldOptions) override {
    if (value.defined()) check(name, value.sizes().vec(), dims);
  }
  void tensors(const char* name, NamedTensors& value, const char* dims, FieldOptions) override {
    for (const auto& [part, tensor] : value) {
      check(fmt::format("{}.{}", name, part), tensor.sizes().vec(), dims);
    }
  }
  void texts(const char* name, std::vector<std::string>& value, const char* dims,
             FieldOptions options) override {
    list(name, value.size(), dims, options);
  }
  void rows(const char* name, std::vector<Json>& value, const char* dims,
            FieldOptions options) override {
    list(name, value.size(), dims, options);
  }
  void numbers(const char* name, std::vector<double>& value, const char* dims,
               FieldOptions options) override {
    list(name, value.size(), dims, options);
  }
  void text(const char*, std::string&, FieldOptions) override {}
  void json(const char*, Json&, FieldOptions) override {}
  void integer(const char*, std::int64_t&) override {}
  void number(const char*, double&, FieldOptions) override {}

 private:
  void list(const char* name, std::size_t size, const char* dims, FieldOptions options) {
    if (size == 0 && options.optional) return;
    check(name, {static_cast<std::int64_t>(size)}, dims);
  }
  void check(const std::string& name, const std::vector<std::int64_t>& shape, const char* dims) {
    if (!fault.empty()) return;
    std::vector<std::string> want = letters(dims);
    const bool open = !want.empty() && want.back() == "*";
    if (open) want.pop_back();
    if (shape.size() < want.size() || (!open && shape.size() > want.size())) {
      fault = fmt::format("{} is [{}], but must be [{}]", name, fmt::join(shape, ","), dims);
      return;
    }
    for (std::size_t i = 0; i < want.size(); ++i) bind(name, want[i], shape[i]);
  }
  void bind(const std::string& name, const std::string& letter, std::int64_t size) {
    const auto [it, fresh] = bound_.try_emplace(letter, size, name);
    if (fresh || it->second.first == size || !fault.empty()) return;
    fault = fmt::format("{} is {} in {}, but {} in {}", letter, it->second.first, it->second.second,
                        size, name);
  }
  std::map<std::string, std::pair<std::int64_t, std::string>> bound_;
};

class SizeSum final : public FieldVisitor {
 public:
  std::size_t bytes = 0;
  void tensor(const char*, at::Tensor& value, const char*, FieldOptions) override {
    if (value.defined()) bytes += static_cast<std::size_t>(value.nbytes());
  }
  void tensors(const char*, NamedTensors& value, const char*, FieldOptions) override {
    for (const auto& [part, tensor] : value) bytes += static_cast<std::size_t>(tensor.nbytes());
  }
  void texts(const char*, std::vector<std::string>& value, const char*, FieldOptions) override {
    for (const std::string& text : value) bytes += text.size() + sizeof(std::string);
  }
  void rows(const char*, std::vector<Json>& value, const char*, FieldOptions) override {
    bytes += value.size() * sizeof(Json);
  }
  void numbers(const char*, std::vector<double>& value, const char*, FieldOptions) override {
    bytes += value.size() * sizeof(double);
  }
  void text(const char*, std::string& value, FieldOptions) override { bytes += value.size(); }
  void json(const char*, Json&, FieldOptions) override { bytes += sizeof(Json); }
  void integer(const char*, std::int64_t&) override { bytes += sizeof(std::int64_t); }
  void number(const char*, double&, FieldOptions) override { bytes += sizeof(double); }
};

}  // namespace

Package to_package(const Value& value) {
  Saver saver;
  walk(value, saver);
  return std::move(saver.package);
}

Value from_package(const PortType& type, const Package& package) {
  if (type.visit == nullptr) {
    throw Failure("no-codec",
                  fmt::format("a {} cannot be read from a file", type.declaration.name));
  }
  std::shared_ptr<void> object = type.make();
  Loader loader(package, type.declaration.name);
  type.visit(loader, object.get());
  Value value(&type, std::move(object));
  if (std::string fault = shape_fault(value); !fault.empty()) {
    throw Failure("bad-shape", fmt::format("{}: {}", type.declaration.name, fault),
                  "rows must agree in number and order");
  }
  return value;
}

std::size_t size_in_bytes(const Value& value) {
  if (!value || value.type()->visit == nullptr) return 0;
  SizeSum sum;
  walk(value, sum);
  return sum.bytes;
}

std::string shape_fault(const Value& value) {
  ShapeCheck check;
  walk(value, check);
  return check.fault;
}

}  // namespace rewardloom
