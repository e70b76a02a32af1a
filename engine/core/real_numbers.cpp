#include "engine/core/real_numbers.h"

#include <algorithm>
#include <array>

namespace rewardloom {
namespace {

bool is_real(const at::Tensor& tensor) {
  return !tensor.defined() || !at::isIntegralType(tensor.scalar_type(), /*includeBool=*/true);
}

constexpr auto kRealArguments = std::to_array<std::string_view>(
    {"advantages", "entropy", "rewards", "returns", "values", "old_values", "weights", "weight",
     "margin", "outcome", "log_ratio"});
constexpr auto kRealEndings = std::to_array<std::string_view>({"log_probs", "logits", "error"});

class MakeReal final : public FieldVisitor {
 public:
  explicit MakeReal(at::ScalarType real) : real_(real) {}
  void tensor(const char*, at::Tensor& value, const char*, FieldOptions o) override {
    if (o.real && !is_real(value)) value = value.to(real_);
  }
  void tensors(const char* name, NamedTensors& value, const char* dims, FieldOptions o) override {
    for (auto& [part, numbers] : value) tensor(name, numbers, dims, o);
  }
  void texts(const char*, std::vector<std::string>&, const char*, FieldOptions) override {}
  void rows(const char*, std::vector<Json>&, const char*, FieldOptions) override {}
  void numbers(const char*, std::vector<double>&, const char*, FieldOptions) override {}
  void text(const char*, std::string&, FieldOptions) override {}
  void json(const char*, Json&, FieldOptions) override {}
  void integer(const char*, std::int64_t&) override {}
  void number(const char*, double&, FieldOptions) override {}

 private:
  at::ScalarType real_;
};

}  // namespace

at::Tensor real_numbers(const at::Tensor& tensor, at::ScalarType real) {
  return is_real(tensor) ? tensor : tensor.to(real);
}

bool is_real_argument(std::string_view argument) {
  return std::find(kRealArguments.begin(), kRealArguments.end(), argument) !=
             kRealArguments.end() ||
         std::any_of(kRealEndings.begin(), kRealEndings.end(),
                     [&](std::string_view ending) { return argument.ends_with(ending); });
}

void make_real(Value& value, at::ScalarType real) {
  if (!value || value.type()->visit == nullptr) return;
  MakeReal visitor(real);
  // Fresh from its node: what others may read already was made real before.
  value.type()->visit(visitor, const_cast<void*>(value.identity()));
}

void make_real(const PortType& type, Package& package, at::ScalarType real) {
  const std::vector<std::string> fields = field_names(type).real;
  for (auto& [name, tensor] : package.tensors) {
    const std::string field = name.substr(0, name.find('.'));
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) continue;
    tensor = real_numbers(tensor, real);
  }
}

}  // namespace rewardloom
