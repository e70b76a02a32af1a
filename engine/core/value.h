// What travels along an edge: an immutable value of a registered port type, shared by its readers.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/core/declaration.h"
#include "engine/core/package.h"
#include "engine/core/problem.h"

namespace rewardloom {

/// Named tensors in a fixed order, e.g. the components of a reward.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// How a field of a port type may be filled.
struct FieldOptions {
  bool main = false;      ///< the field that the port's own name stands for
  bool optional = false;  ///< may be absent (an undefined tensor, an empty list)
  bool real = false;  ///< real numbers, whatever type they were written in; not ids, masks, labels
};

/// Walks over the fields of a value. Every port type describes itself once, with
/// `void fields(FieldVisitor&, T&)`; codec, probes, memory accounting and shape checks derive from
/// it.
class FieldVisitor {
 public:
  virtual ~FieldVisitor() = default;
  /// `dims` are symbolic sizes such as "N,T"; "" is a scalar; "*" is any shape.
  virtual void tensor(const char* name, at::Tensor& value, const char* dims,
                      FieldOptions options = {}) = 0;
  virtual void tensors(const char* name, NamedTensors& value, const char* dims,
                       FieldOptions options = {}) = 0;
  virtual void texts(const char* name, std::vector<std::string>& value, const char* dims,
                     FieldOptions options = {}) = 0;
  virtual void rows(const char* name, std::vector<Json>& value, const char* dims,
                    FieldOptions options = {}) = 0;
  virtual void numbers(const char* name, std::vector<double>& value, const char* dims,
                       FieldOptions options = {}) = 0;
  virtual void text(const char* name, std::string& value, FieldOptions options = {}) = 0;
  virtual void json(const char* name, Json& value, FieldOptions options = {}) = 0;
  virtual void integer(const char* name, std::int64_t& value) = 0;
  virtual void number(const char* name, double& value, FieldOptions options = {}) = 0;
};

/// A port type at run time: its declaration and how to make and walk a value.
struct PortType {
  PortTypeDeclaration declaration;
  std::shared_ptr<void> (*make)() = nullptr;
  void (*visit)(FieldVisitor&,
                void*) = nullptr;  ///< null for handles and terms: they have no codec
};

/// Specialised for each port type: `static const PortType& type()`.
template <class T>
struct PortTraits;

/// A shared, immutable value of any port type. Empty: the port was not connected or gave nothing.
class Value {
 public:
  Value() = default;
  template <class T>
  static Value of(T value) {
    return Value(&PortTraits<T>::type(), std::make_shared<T>(std::move(value)));
  }
  Value(const PortType* type, std::shared_ptr<const void> data)
      : type_(type), data_(std::move(data)) {}

  explicit operator bool() const { return data_ != nullptr; }
  const PortType* type() const { return type_; }
  const void* identity() const { return data_.get(); }
  const std::shared_ptr<const void>& data() const { return data_; }

  /// Throws Failure `type-mismatch` if the value is of another type or empty.
  template <class T>
  const T& get() const {
    if (type_ != &PortTraits<T>::type() || !data_) refuse(PortTraits<T>::type());
    return *static_cast<const T*>(data_.get());
  }

 private:
  [[noreturn]] void refuse(const PortType& wanted) const;
  const PortType* type_ = nullptr;
  std::shared_ptr<const void> data_;
};

/// The codec of every port type: tensors under their field names (`components.NAME` for named
/// tensors), texts and everything else in the metadata. Throws Failure `no-codec` for handles.
Package to_package(const Value& value);
/// The value back; missing required fields and shapes that contradict the symbolic sizes are
/// refused.
Value from_package(const PortType& type, const Package& package);
/// Bytes held by the value's tensors and texts.
std::size_t size_in_bytes(const Value& value);
/// Field names of a type in order, the main one first in `main`.
struct FieldNames {
  std::vector<std::string> all;
  std::string main;
  std::vector<std::string> real;  ///< those of real numbers
};
FieldNames field_names(const PortType& type);
/// What contradicts the symbolic sizes ("total is [3], but group is [4]: both are N"), or "".
std::string shape_fault(const Value& value);

}  // namespace rewardloom
