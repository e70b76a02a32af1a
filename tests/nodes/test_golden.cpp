// Every node type for which there are golden cases reproduces them, gradients included.
#include <fmt/format.h>
#include <torch/types.h>

#include <QDir>
#include <QFile>
#include <QStringList>
#include <fstream>
#include <map>

#include "engine/run/evaluate.h"
#include "nodes/all_nodes.h"
#include "tests/qt_test.h"

namespace rewardloom {
namespace {

/// One case; the format is described in shared/golden/README.md.
struct GoldenCase {
  std::string node;
  std::string name;
  Json params = Json::object();
  Package inputs;
  Package outputs;
  std::map<std::string, at::Tensor> gradients;
  std::string gradient_of = "loss";
  double tolerance = 1e-6;
};

/// The folder of golden cases; empty where it is not there.
QString golden_folder() {
  const QString folder = QStringLiteral(REWARDLOOM_SOURCE_DIR "/../shared/golden");
  return QDir(folder).exists() ? folder : QString();
}

template <class T>
at::Tensor numbers(const Json& data, const std::vector<std::int64_t>& shape, at::ScalarType type) {
  std::vector<T> values;
  for (const Json& item : data) values.push_back(item.get<T>());
  return at::tensor(at::ArrayRef<T>(values), at::dtype(type)).reshape(shape);
}

void add_value(Package& package, const std::string& name, const Json& json) {
  const std::string dtype = json.at("dtype");
  const auto shape = json.at("shape").get<std::vector<std::int64_t>>();
  const Json& data = json.at("data");
  if (dtype == "text") {
    package.meta[name] = data;
  } else if (dtype == "i64") {
    package.tensors[name] = numbers<std::int64_t>(data, shape, at::kLong);
  } else if (dtype == "bool") {
    Json bits = Json::array();
    for (const Json& item : data) {
      bits.push_back(item.is_boolean() ? std::int64_t{item.get<bool>()} : item.get<std::int64_t>());
    }
    package.tensors[name] = numbers<std::int64_t>(bits, shape, at::kLong).to(at::kBool);
  } else {
    package.tensors[name] =
        numbers<double>(data, shape, at::kDouble).to(dtype == "f32" ? at::kFloat : at::kDouble);
  }
}

std::vector<GoldenCase> read_golden(const QString& path) {
  std::ifstream file(path.toStdString());
  const Json json = Json::parse(file);
  std::vector<GoldenCase> out;
  for (const Json& item : json.at("cases")) {
    GoldenCase c;
    c.node = json.at("node");
    c.name = item.at("name");
    c.params = item.value("params", Json::object());
    c.tolerance = item.at("tolerance");
    c.gradient_of = item.value("gradient_of", "loss");
    for (const auto& [name, tensor] : item.at("inputs").items()) add_value(c.inputs, name, tensor);
    for (const auto& [name, tensor] : item.at("outputs").items())
      add_value(c.outputs, name, tensor);
    Package gradients;
    if (item.contains("gradients")) {
      for (const auto& [name, tensor] : item["gradients"].items()) {
        add_value(gradients, name, tensor);
      }
    }
    c.gradients = gradients.tensors;
    out.push_back(std::move(c));
  }
  return out;
}

/// How `got` differs from `want` (|got - want| <= tolerance * (1 + |want|); integers and booleans
/// exactly), or "".
std::string difference(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  if (!got.defined()) return "nothing came out";
  if (got.sizes() != want.sizes()) {
    return c10::str("shape ", got.sizes(), " instead of ", want.sizes());
  }
  if (!at::isFloatingType(want.scalar_type())) {
    return got.to(at::kLong).equal(want.to(at::kLong)) ? ""
                                                       : c10::str("got ", got, ", want ", want);
  }
  const at::Tensor g = got.to(at::kDouble);
  const at::Tensor w = want.to(at::kDouble);
  const at::Tensor excess = (g - w).abs() - tolerance * (1 + w.abs());
  if (excess.numel() == 0 || (excess <= 0).all().item<bool>()) return "";
  const std::int64_t at = excess.flatten().argmax().item<std::int64_t>();
  return fmt::format("element {}: got {:.12g}, want {:.12g}", at, g.flatten()[at].item<double>(),
                     w.flatten()[at].item<double>());
}

}  // namespace

class TestGolden : public QObject {
  Q_OBJECT

 private Q_SLOTS:
  void initTestCase() { register_all_nodes(registry_); }

  void nodes_agree_with_reference_code_data() {
    QTest::addColumn<QString>("file");
    QTest::addColumn<int>("index");
    if (golden_folder().isEmpty()) QSKIP("the golden cases are not there");
    int rows = 0;
    for (const QString& name :
         QDir(golden_folder()).entryList({"*.json"}, QDir::Files, QDir::Name)) {
      const std::string type = name.chopped(5).toStdString();
      if (registry_.catalogue().node(type) == nullptr) continue;
      const QString path = golden_folder() + "/" + name;
      const auto cases = read_golden(path);
      for (std::size_t i = 0; i < cases.size(); ++i, ++rows) {
        QTest::addRow("%s/%s", type.c_str(), cases[i].name.c_str()) << path << static_cast<int>(i);
      }
    }
    QVERIFY(rows > 0);
  }

  void nodes_agree_with_reference_code() {
    QFETCH(QString, file);
    QFETCH(int, index);
    const GoldenCase c = read_golden(file).at(static_cast<std::size_t>(index));
    const EvaluateResult result = evaluate(registry_, c.node, c.params, c.inputs);
    for (const auto& [name, want] : c.outputs.tensors) {
      const std::string wrong = difference(found(result, name), want, c.tolerance);
      QVERIFY2(wrong.empty(), fmt::format("{}: {}", name, wrong).c_str());
    }
    for (const auto& [name, want] : c.outputs.meta.items()) {
      QVERIFY2(result.outputs.meta.contains(name), name.c_str());
      QCOMPARE(result.outputs.meta[name].dump(), want.dump());
    }
    if (c.gradient_of != "loss") return;
    for (const auto& [name, want] : c.gradients) {
      const std::string wrong = difference(found(result, name + ".grad"), want, c.tolerance);
      QVERIFY2(wrong.empty(), fmt::format("gradient of {}: {}", name, wrong).c_str());
    }
  }

  void float32_agrees_to_five_digits_data() { nodes_agree_with_reference_code_data(); }

  /// The same cases with float32 inputs: what a run on an accelerator computes.
  void float32_agrees_to_five_digits() {
    QFETCH(QString, file);
    QFETCH(int, index);
    GoldenCase c = read_golden(file).at(static_cast<std::size_t>(index));
    for (auto& [name, tensor] : c.inputs.tensors) {
      if (tensor.scalar_type() == at::kDouble && tensor.dim() > 0) tensor = tensor.to(at::kFloat);
    }
    const EvaluateResult result = evaluate(registry_, c.node, c.params, c.inputs);
    for (const auto& [name, want] : c.outputs.tensors) {
      const std::string wrong = difference(found(result, name), want, 2e-5);
      QVERIFY2(wrong.empty(), fmt::format("{}: {}", name, wrong).c_str());
    }
  }

 private:
  static at::Tensor found(const EvaluateResult& result, const std::string& name) {
    const auto it = result.outputs.tensors.find(name);
    if (it != result.outputs.tensors.end()) return it->second;
    if (!result.outputs.meta.contains(name)) return {};
    const Json& json = result.outputs.meta[name];
    return json.is_number() ? at::full({}, json.get<double>(), at::kDouble) : at::Tensor();
  }

  Registry registry_;
};

}  // namespace rewardloom

using rewardloom::TestGolden;
REWARDLOOM_TEST(TestGolden)
#include "test_golden.moc"
