// The codec of every port type, shape checks, and refusals.
#include <ATen/ATen.h>

#include "engine/core/port_types.h"
#include "tests/qt_test.h"

using namespace rewardloom;

namespace {

/// Fills every field of a value with something that can be told apart after a round trip.
class Filler final : public FieldVisitor {
 public:
  void tensor(const char* name, at::Tensor& value, const char* dims, FieldOptions) override {
    value = make(name, dims);
  }
  void tensors(const char* name, NamedTensors& value, const char* dims, FieldOptions) override {
    value = {{"second", make(name, dims)}, {"first", make(name, dims) + 1}};
  }
  void texts(const char* name, std::vector<std::string>& value, const char* dims,
             FieldOptions) override {
    value.clear();
    for (std::int64_t i = 0; i < size(dims[0]); ++i) value.push_back(name + std::to_string(i));
  }
  void rows(const char* name, std::vector<Json>& value, const char* dims, FieldOptions) override {
    value.assign(static_cast<std::size_t>(size(dims[0])), Json{{"field", name}});
  }
  void numbers(const char*, std::vector<double>& value, const char* dims, FieldOptions) override {
    value.assign(static_cast<std::size_t>(size(dims[0])), 0.1);
  }
  void text(const char* name, std::string& value, FieldOptions) override { value = name; }
  void json(const char* name, Json& value, FieldOptions) override { value = {{"json", name}}; }
  void integer(const char*, std::int64_t& value) override { value = 42; }
  void number(const char*, double& value, FieldOptions) override { value = 0.25; }

 private:
  static std::int64_t size(char letter) { return letter == '1' ? 1 : letter % 5 + 2; }
  static at::Tensor make(const std::string& name, const char* dims) {
    std::vector<std::int64_t> shape;
    for (const char* c = dims; *c; ++c) {
      if (*c != ',') shape.push_back(*c == '*' ? 3 : size(*c));
    }
    const at::Tensor values = at::arange(c10::multiply_integers(shape), at::kFloat).reshape(shape);
    if (name == "mask" || name == "absent" || name == "finished")
      return values.remainder(2).to(at::kBool);
    if (name == "group" || name == "tokens" || name == "prompt") return values.to(at::kLong);
    return values * 0.5;
  }
};

}  // namespace

class TestValues : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void everyTypeComesBackFromItsPackage() {
    int checked = 0;
    for (const PortType* type : core_port_types()) {
      if (type->visit == nullptr) continue;
      std::shared_ptr<void> object = type->make();
      Filler filler;
      type->visit(filler, object.get());
      const Package saved = to_package(Value(type, object));
      const Package again = to_package(from_package(*type, saved));
      const std::string name = type->declaration.name;
      QVERIFY2(again.meta == saved.meta, name.c_str());
      QCOMPARE(again.tensors.size(), saved.tensors.size());
      for (const auto& [key, tensor] : saved.tensors) {
        QVERIFY2(at::equal(tensor, again.tensors.at(key)), (name + "." + key).c_str());
      }
      ++checked;
    }
    QVERIFY(checked >= 20);
  }
  void everyValueTypeHasOneMainField() {
    for (const PortType* type : core_port_types()) {
      if (type->visit == nullptr) continue;
      QVERIFY2(!field_names(*type).main.empty(), type->declaration.name.c_str());
    }
  }
  void rowsThatDisagreeAreRefused() {
    Package package;
    package.tensors["total"] = at::zeros({3});
    package.tensors["group"] = at::zeros({4}, at::kLong);
    try {
      from_package(PortTraits<Rewards>::type(), package);
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().code, std::string("bad-shape"));
      QCOMPARE(failure.problem().text, std::string("Rewards: N is 3 in total, but 4 in group"));
    }
  }
  void aMissingFieldIsNamed() {
    try {
      from_package(PortTraits<Rewards>::type(), {});
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().text, std::string("Rewards has no total"));
    }
  }
  void aPlainMatrixBecomesComponents() {
    Package package;
    package.tensors["total"] = at::zeros({3});
    package.tensors["components"] = at::arange(6, at::kFloat).reshape({3, 2});
    const Rewards rewards = from_package(PortTraits<Rewards>::type(), package).get<Rewards>();
    QCOMPARE(rewards.components.size(), std::size_t{2});
    QCOMPARE(rewards.components[1].first, std::string("1"));
    QCOMPARE(rewards.components[1].second[2].item<float>(), 5.0f);
  }
  void handlesHaveNoFileForm() {
    QVERIFY_EXCEPTION_THROWN(to_package(Value::of(Policy{})), Failure);
  }
  void theWrongTypeIsNamed() {
    const Value value = Value::of(Scalar{1});
    try {
      value.get<Rewards>();
      QFAIL("accepted");
    } catch (const Failure& failure) {
      QCOMPARE(failure.problem().text, std::string("expects Rewards, but there is Scalar"));
    }
  }
  void sizeCountsTensorsAndTexts() {
    Rewards rewards;
    rewards.total = at::zeros({100}, at::kFloat);
    QVERIFY(size_in_bytes(Value::of(rewards)) >= 400);
  }
};

REWARDLOOM_TEST(TestValues)
#include "test_values.moc"
